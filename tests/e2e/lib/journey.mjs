// All that a TypeScript client does with the proxy, for any version of the SDK and any host.
import * as two from '@modelcontextprotocol/client';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { check, equal, oneByOne } from './check.mjs';
import { PAT } from './processes.mjs';
import { CALLBACK, Provider } from './provider.mjs';

export const SDKS = {
  'SDK 1': { Client, StreamableHTTPClientTransport, UnauthorizedError },
  'SDK 2': two,
};
const REFUSED = 'mcp_at_no_longer_good';

/** A connected client; signs in if the server asks for it. */
async function connect(sdk, url, provider) {
  const fresh = () => new sdk.StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
  const client = () => new sdk.Client({ name: 'e2e', version: '1' });
  let connected = client();
  const first = fresh();
  try {
    await connected.connect(first);
    return connected;
  } catch (error) {
    if (!(error instanceof sdk.UnauthorizedError)) throw error;
  }
  // The newer SDK checks `iss` itself and so needs all parameters.
  await first.finishAuth(provider.landed.searchParams.get('code'), provider.landed.searchParams.get('iss'));
  connected = client();
  await connected.connect(fresh());
  return connected;
}

/** A tool that takes a second and reports on the way. */
async function progress(name, sdk, client) {
  const begin = performance.now();
  const arrivals = [];
  const call = { name: 'trigger-long-running-operation', arguments: { duration: 1, steps: 4 } };
  const options = { onprogress: () => arrivals.push(performance.now() - begin) };
  // The older SDK has a schema as an argument in between.
  await (sdk === two ? client.callTool(call, options) : client.callTool(call, undefined, options));
  oneByOne(`${name}: progress arrives step by step`, arrivals, performance.now() - begin, 4);
}

/** Connect, call, run again, refresh, revoke, connect again. `server` can `restart()`. */
export async function journey(name, sdk, server) {
  const provider = new Provider(server.pin);

  let client = await connect(sdk, server.url, provider);
  equal(`${name}: the person was asked once`, provider.asked, 1);
  equal(`${name}: the code went to the callback`, `${provider.landed.origin}${provider.landed.pathname}`, CALLBACK);
  equal(`${name}: state and issuer came along`,
    [provider.landed.searchParams.get('state'), provider.landed.searchParams.get('iss')],
    ['state-of-the-client', new URL(server.url).origin]);
  const { tools } = await client.listTools();
  check(`${name}: tools/list`, tools.some((tool) => tool.name === 'echo'), `${tools.length} tools`);
  const echoed = await client.callTool({ name: 'echo', arguments: { message: 'hello' } });
  check(`${name}: tools/call`, JSON.stringify(echoed.content).includes('hello'));
  await progress(name, sdk, client);
  await client.close();

  await server.restart();
  client = await connect(sdk, server.url, provider);
  await client.listTools();
  equal(`${name}: a second run needs nobody`, provider.asked, 1);
  await client.close();

  const before = provider.kept.tokens;
  provider.kept.tokens = { ...before, access_token: REFUSED };
  client = await connect(sdk, server.url, provider);
  await client.listTools();
  check(`${name}: a refused access token is refreshed without the person`,
    provider.asked === 1 && provider.kept.tokens.access_token !== REFUSED
    && provider.kept.tokens.refresh_token !== before.refresh_token);
  await client.close();

  const origin = new URL(server.url).origin;
  const revoked = await fetch(`${origin}/revoke`, {
    method: 'POST',
    body: new URLSearchParams({ token: provider.kept.tokens.refresh_token, client_id: provider.kept.client.client_id }),
  });
  equal(`${name}: revoked`, revoked.status, 200);
  const ended = provider.kept.tokens;
  const refused = await fetch(server.url, {
    method: 'POST',
    headers: { authorization: `Bearer ${ended.access_token}`, 'content-type': 'application/json' },
    body: '{}',
  });
  await refused.text();
  equal(`${name}: the access token ended with it`, refused.status, 401);
  client = await connect(sdk, server.url, provider);
  await client.listTools();
  equal(`${name}: after that the person is asked again`, provider.asked, 2);
  await client.close();
  const log = server.output();
  const tokens = [before, ended, provider.kept.tokens].flatMap((pair) => [pair.access_token, pair.refresh_token]);
  const secrets = [PAT, server.pin, ...tokens];
  check(`${name}: nothing secret in the log`, secrets.every((secret) => !log.includes(secret)));
}
