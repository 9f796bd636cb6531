// Servers with two other SDKs over both transports, and responses that are large, many, or late.
import { setTimeout } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { check, equal, run } from './lib/check.mjs';
import { everything, PAT, proxy, python } from './lib/processes.mjs';
import { Provider } from './lib/provider.mjs';

/** A connected client of the proxy in front of this upstream. */
async function connected(upstream, transport, path, defer) {
  const server = await proxy(['serve', '--state', 'memory'], { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, UPSTREAM_TRANSPORT: transport });
  defer(() => server.stop());
  const provider = new Provider(server.pin);
  const Transport = transport === 'sse' ? SSEClientTransport : StreamableHTTPClientTransport;
  const fresh = () => new Transport(new URL(path, server.url), { authProvider: provider });
  const first = fresh();
  await new Client({ name: 'e2e', version: '1' }).connect(first)
    .catch(() => first.finishAuth(provider.landed.searchParams.get('code')));
  const client = new Client({ name: 'e2e', version: '1' });
  const last = fresh();
  await client.connect(last);
  defer(() => client.close());
  return { client, server, provider, transport: last };
}

await run('transports', async (defer) => {
  const old = await everything('sse');
  defer(() => old.stop());
  for (const path of ['/mcp', '/sse']) {
    const { client } = await connected(old, 'sse', path, defer);
    const echoed = await client.callTool({ name: 'echo', arguments: { message: 'hello' } });
    check(`server-everything over HTTP+SSE at ${path}`, JSON.stringify(echoed.content).includes('hello'));
  }

  const waiting = [];
  for (const [name, transport] of [['sse', 'sse'], ['streamable-http', 'streamable-http']]) {
    const upstream = await python(name);
    defer(() => upstream.stop());
    const { client, server, provider, transport: raw } = await connected(upstream, transport, '/mcp', defer);
    const call = (tool, args, options) => client.callTool({ name: tool, arguments: args }, undefined, options);
    const large = await call('large', { size: 5_000_000 });
    equal(`Python SDK, ${name}: an answer of 5 MB`, large.content[0].text.length, 5_000_000);
    // Counted as they arrive: over HTTP+SSE this server sends its response before the last events, also when called
    // directly, and then the client's own handler does not get those events.
    let seen = 0;
    const deliver = raw.onmessage;
    raw.onmessage = (message, extra) => {
      if (message.method === 'notifications/progress') seen += 1;
      deliver(message, extra);
    };
    const many = await call('events', { count: 1000 }, { onprogress() {} });
    for (let left = 100; seen < 1000 && left > 0; left -= 1) await setTimeout(50);
    equal(`Python SDK, ${name}: 1,000 events`, [seen, many.content[0].text], [1000, '1000 events']);
    if (transport === 'streamable-http') waiting.push(late(server, provider));
  }
  await Promise.all(waiting);
});

/** A response after 35 seconds of silence, read as bytes to see what arrives until then. */
async function late(server, provider) {
  const headers = {
    authorization: `Bearer ${provider.kept.tokens.access_token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };
  const post = (body, more = {}) => fetch(server.url, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify({ jsonrpc: '2.0', ...body }) });
  const hello = await post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'e2e', version: '1' } } });
  await hello.text();
  const session = { 'mcp-session-id': hello.headers.get('mcp-session-id') };
  await (await post({ method: 'notifications/initialized' }, session)).text();
  const answer = await post({ id: 2, method: 'tools/call', params: { name: 'patience', arguments: { seconds: 35 } } }, session);
  const text = await answer.text();
  // The server sends its own comments every 15 seconds; the proxy sends one after 8 silent seconds.
  const comments = text.split('\n').filter((line) => line.startsWith(': keep-alive')).length;
  check('an answer after 35 seconds arrives, and the silence is filled', text.includes('at last') && comments >= 2, `${comments} comments of ours`);
}
