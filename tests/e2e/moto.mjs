// A second implementation of DynamoDB, which others wrote (moto), so that no quirk of the embedded engine hides a mistake.
// A connection's life with `serve --state URL` on both. Then, on moto, the faults of the store and the random operations of
// tests/explore.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { attempt, check, equal, run } from './lib/check.mjs';
import { asking, connected, redeemed, refreshed } from './lib/connected.mjs';
import { Owner } from './lib/owner.mjs';
import { submitted } from './lib/person.mjs';
import { BINARY, endWithUs, everything, freePort, PAT, proxy, start } from './lib/processes.mjs';

const command = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FUNCTION = process.env.FUNCTION_BINARY ?? `${ROOT}/target/debug/examples/function`;
const PIN = 'motoPIN234';
// The default of TABLE_NAME.
const TABLE = 'lambda-oauth-mcp-proxy';
/** A tool that no limit but "everything" lets pass; the upstream does not have it. */
const UNKNOWN_TOOL = 'no-such-tool';

async function moto() {
  const port = await freePort();
  const script = fileURLToPath(new URL('moto_server.py', import.meta.url));
  const server = await start(process.env.PYTHON ?? 'python3', [script, String(port)], {}, /Running on/);
  return { url: `http://127.0.0.1:${port}`, stop: () => server.stop() };
}

async function embedded() {
  const server = spawn(FUNCTION, ['table'], { stdio: ['ignore', 'pipe', 'inherit'] });
  endWithUs(server);
  const [line] = await once(server.stdout, 'data');
  return { url: String(line).trim(), stop: () => server.kill('SIGKILL') };
}

async function dynamodb(url, operation, request) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `DynamoDB_20120810.${operation}`,
      authorization: 'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: JSON.stringify(request),
  });
  return answer.json();
}

/** What a call of a tool gets: `passed` (the upstream said that it has no such tool), `limited`, or the error's text. */
async function called({ url }, { access_token }, tool = UNKNOWN_TOOL) {
  const client = new Client({ name: 'e2e', version: '1' });
  const headers = { authorization: `Bearer ${access_token}` };
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
    const { isError, content } = await client.callTool({ name: tool, arguments: { message: 'hello' } });
    return isError && content[0].text.includes('not found') ? 'passed' : content[0].text;
  } catch (error) {
    if (error.message.includes('was not called')) return 'limited';
    return /not found/.test(error.message) ? 'passed' : error.message;
  } finally {
    await client.close();
  }
}

async function status({ url }, { access_token }) {
  const answer = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${access_token}` }, body: '{}' });
  await answer.text();
  return answer.status;
}

const edit = ({ access_token }) => `/connections/edit?connection=${access_token.slice('mcp_at_'.length).split('.')[0]}`;

async function life(name, state, upstream, defer) {
  const env = { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, AUTH_PIN: PIN };
  const one = await proxy(['serve', '--state', state], env);
  defer(() => one.stop());
  const same = (what, seen, expected) => equal(`${name}: ${what}`, seen, expected);
  const owner = new Owner(one.url, PIN);
  await owner.ask('/connections', { action: 'sign-in', pin: PIN });

  // Consent: wrong PINs, then two tabs of one page.
  const { client_id, page } = await asking(one.url);
  const wrong = await submitted(page, 'wrongPIN99', 'authorize', { name: 'Wrong', limit: 'everything' });
  same('a wrong PIN leads back to the page', wrong.pathname, '/authorize');
  const tab = async (chosen) => (await submitted(page, PIN, 'authorize', chosen)).searchParams.get('code');
  const first = await tab({ name: 'First tab', limit: 'everything' });
  const second = await tab({ name: 'Second tab', limit: 'read_only' });
  same('of two consents on one page the last one counts', await redeemed(one.url, client_id, first), 400);
  let tokens = await redeemed(one.url, client_id, second);
  same('with its limit', await called(one, tokens), 'limited');
  check(`${name}: and its name`, (await owner.ask('/connections')).text.includes('Second tab'));
  const third = await submitted(page, PIN);
  same('the page has been used', `${third.pathname} ${third.searchParams.get('code')}`, '/authorize null');

  // Refreshing, ten times at once.
  const all = await Promise.all(Array.from({ length: 10 }, () => refreshed(one.url, tokens)));
  const pairs = new Set(all.map((pair) => JSON.stringify([pair.access_token, pair.refresh_token])));
  same('ten refreshes at once get one pair', [pairs.size, typeof all[0].access_token], [1, 'string']);
  tokens = all[0];
  const next = await refreshed(one.url, tokens);
  check(`${name}: the next refresh gets another one`, next.refresh_token && next.refresh_token !== tokens.refresh_token);
  tokens = next;

  // Limits.
  const change = async (fields, seen) => {
    await owner.form(edit(tokens), fields);
    same(`a call after ${JSON.stringify(fields)}`, await called(one, tokens), seen);
  };
  await change({ action: 'limit', limit: 'everything' }, 'limited');
  await change({ action: 'limit', limit: 'everything', pin: PIN }, 'passed');
  await owner.form(edit(tokens), { action: 'tools', tool: 'echo' });
  same('a chosen tool', await called(one, tokens, 'echo'), 'Echo: hello');
  // The same again: the stored list is compared with the one that was seen.
  await change({ action: 'tools', tool: 'echo' }, 'limited');
  await owner.form(edit(tokens), { action: 'rename', name: 'Renamed' });
  const activity = (await owner.ask(edit(tokens))).text;
  check(`${name}: name and history on the page`, ['Renamed', UNKNOWN_TOOL, 'echo'].every((text) => activity.includes(text)));

  // Another process on the same table.
  const listed = await command(BINARY, ['connections', 'list', '--state', state], { env: { ...process.env, ...env } });
  check(`${name}: another process lists the connection`, listed.stdout.includes('Renamed'), listed.stdout);

  // The end: by revocation, by replay, by the owner.
  await fetch(new URL('/revoke', one.url), { method: 'POST', body: new URLSearchParams({ client_id, token: tokens.refresh_token }) });
  same('a revoked connection', [await status(one, tokens), await refreshed(one.url, tokens)], [401, 400]);
  const replayed = await asking(one.url);
  const code = (await submitted(replayed.page, PIN)).searchParams.get('code');
  tokens = await redeemed(one.url, replayed.client_id, code);
  same('a connection', await status(one, tokens) !== 401, true);
  same('its code again', await redeemed(one.url, replayed.client_id, code), 400);
  same('ends it', await status(one, tokens), 401);
  tokens = await connected(one.url, PIN);
  await owner.form('/connections', { action: 'end-all' });
  same('the owner ends all', await status(one, tokens), 401);
  check(`${name}: nothing is listed any more`, (await owner.ask('/connections')).text.includes('Nothing is connected'));

  // The throttle, in a browser that is not known.
  const guessed = await asking(one.url);
  for (let tries = 0; tries < 5; tries += 1) await submitted(guessed.page, 'wrongPIN99');
  same('after five wrong PINs the right one is refused', (await submitted(guessed.page, PIN)).searchParams.get('code'), null);
  check(`${name}: the owner sees the tries`, /tries from IP address/.test((await owner.ask('/connections')).text));
  const log = one.output();
  check(`${name}: the store never failed`, !/unavailable|record_unreadable/.test(log), log.match(/.*(unavailable|record_unreadable).*/)?.[0] ?? '');
}

/** `cargo test` has built it already; nothing is built if the sources are unchanged. */
async function explored(url) {
  const filter = ['test', '--locked', '--test', 'explore', 'another_server', '--', '--ignored', '--nocapture'];
  const options = { cwd: ROOT, env: { ...process.env, TABLE_URL: url }, maxBuffer: 1 << 26 };
  const { stdout } = await command('cargo', filter, options).catch((error) => error);
  const [, passed, failed] = stdout.match(/test result: \w+\. (\d+) passed; (\d+) failed/) ?? [];
  console.log(stdout.match(/\d+ cases|\[.*applied, refused, invalid/g)?.join('\n'));
  equal('faults of the store and random operations: passed and failed', [passed, failed], ['2', '0']);
}

await run('moto', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const other = await moto();
  defer(() => other.stop());
  const own = await embedded();
  defer(() => own.stop());
  await attempt('embedded engine', () => life('embedded engine', own.url, upstream, defer));
  await attempt('moto', async () => {
    await life('moto', other.url, upstream, defer);
    const { TimeToLiveDescription: ttl } = await dynamodb(other.url, 'DescribeTimeToLive', { TableName: TABLE });
    equal('moto: the table deletes what has expired', ttl, { TimeToLiveStatus: 'ENABLED', AttributeName: 'expires_at' });
    const { Items: items } = await dynamodb(other.url, 'Scan', { TableName: TABLE });
    const text = JSON.stringify(items);
    check('moto: no secret and no token in the table', items.length > 5 && ![PIN, PAT, 'mcp_at_', 'mcp_rt_', 'mcp_ac_'].some((secret) => text.includes(secret)));
  });
  await attempt('tests/explore', () => explored(other.url));
});
