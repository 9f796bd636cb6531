// Servers that others wrote, started with their own settings: what they list and what a call returns, directly and through the
// proxy. Started by ../clients/run --upstreams.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { attempt, check, equal, run } from '../lib/check.mjs';
import { accessToken } from '../lib/connected.mjs';
import { everything, freePort, PAT, proxy, start } from '../lib/processes.mjs';
import { inPackage } from './product.mjs';

const python = (environment) => join(process.env.CLIENTS_FOLDER, environment, 'bin');
const script = (name) => fileURLToPath(new URL(`../clients/${name}`, import.meta.url));
const node = (name, file, ...args) => [process.execPath, inPackage(name, file), ...args];
/** Nothing listens there: calls that need the service fail, with the server's own words. */
const NOWHERE = 'http://127.0.0.1:9';

/** `call` is a tool and its arguments; `refuses`: the server itself refuses a wrong token. */
const UPSTREAMS = [
  {
    name: 'Playwright MCP', host: 'localhost', // It refuses any other name.
    command: (port) => node('@playwright/mcp', 'cli.js', '--port', port, '--headless', '--no-sandbox', '--isolated',
      '--browser', 'chromium', '--executable-path', process.env.CHROMIUM ?? '/usr/bin/chromium'),
    call: ['browser_navigate', { url: 'data:text/html,<title>Page</title><h1>Heading</h1>' }],
    says: /Heading|Page/,
  },
  {
    name: 'Context7', command: (port) => node('@upstash/context7-mcp', 'dist/index.js', '--transport', 'http', '--port', port),
    call: ['resolve-library-id', { libraryName: 'axum', query: 'routing' }],
  },
  {
    name: 'Notion',
    command: (port) => node('@notionhq/notion-mcp-server', 'bin/cli.mjs', '--transport', 'http', '--port', port, '--auth-token', PAT),
    env: { NOTION_TOKEN: 'ntn_none' }, call: ['API-get-self', {}], refuses: true,
  },
  {
    name: 'mcp-atlassian',
    command: (port) => [join(python('mcp-atlassian'), 'mcp-atlassian'), '--transport', 'streamable-http', '--host', '127.0.0.1', '--port', port, '--path', '/mcp'],
    env: { JIRA_URL: NOWHERE, ATLASSIAN_OAUTH_ENABLE: 'true' },
    settings: { UPSTREAM_AUTH_SCHEME: 'none', UPSTREAM_TOKEN: `Token ${PAT}` }, authorization: `Token ${PAT}`,
    call: ['jira_get_issue', { issue_key: 'PROJ-1' }],
  },
  {
    name: 'FastMCP with a static verifier',
    command: (port) => [join(python('fastmcp'), 'python'), script('upstream_fastmcp.py'), port, PAT],
    call: ['add', { a: 2, b: 3 }], says: /5/, refuses: true,
  },
];

/** What a client sees: the names of all tools with their schemas, and the result of the call. */
async function seen(url, authorization, call, Transport = StreamableHTTPClientTransport) {
  const client = new Client({ name: 'e2e', version: '1' });
  const requestInit = { headers: { authorization } };
  const eventSourceInit = { fetch: (to, init) => fetch(to, { ...init, headers: { ...Object.fromEntries(new Headers(init.headers)), authorization } }) };
  await client.connect(new Transport(new URL(url), { requestInit, eventSourceInit }));
  const { tools } = await client.listTools();
  const result = await client.callTool({ name: call[0], arguments: call[1] }, undefined, { timeout: 120_000 })
    .catch((error) => ({ refused: error.message }));
  await client.close();
  // Playwright names a file after the time.
  return { tools, result: JSON.parse(JSON.stringify(result).replace(/\d{4}-\d\d-\d\dT[\d-]+Z/g, 'TIME')) };
}

/** Some print their address before they listen. */
async function listening(url, tries = 300) {
  try {
    await (await fetch(url)).body?.cancel();
  } catch (error) {
    if (tries === 0) throw error;
    await setTimeout(200);
    await listening(url, tries - 1);
  }
}

async function compare(name, upstream, { settings = {}, authorization = `Bearer ${PAT}`, call, says, refuses, transport }, defer) {
  const Transport = transport === 'sse' ? SSEClientTransport : StreamableHTTPClientTransport;
  const direct = await seen(upstream, authorization, call, Transport);
  if (refuses) {
    const refused = await fetch(upstream, { method: 'POST', headers: { authorization: 'Bearer other', 'content-type': 'application/json' }, body: '{}' });
    await refused.text();
    check(`${name}: refuses another token when called directly`, [401, 403].includes(refused.status), refused.status);
  }
  const server = await proxy(['serve', '--state', 'memory'],
    { UPSTREAM_MCP: upstream, UPSTREAM_TOKEN: PAT, ...(transport ? { UPSTREAM_TRANSPORT: transport } : {}), ...settings });
  defer(() => server.stop());
  const proxied = await seen(server.url, `Bearer ${await accessToken(server.url, server.pin)}`, call, Transport);
  check(`${name}: lists tools`, direct.tools.length > 0, `${direct.tools.length} tools`);
  equal(`${name}: the same tools through the proxy`, proxied.tools, direct.tools);
  const result = JSON.stringify(direct.result);
  equal(`${name}: the same result of ${call[0]}`, proxied.result, direct.result);
  check(`${name}: it is a result`, (says ?? /./).test(result), result.slice(0, 120));
}

await run('upstreams', async (defer) => {
  const names = process.argv.slice(2).join(' ');
  for (const upstream of UPSTREAMS.filter(({ name }) => name.includes(names))) {
    await attempt(upstream.name, async () => {
      const home = mkdtempSync(join(tmpdir(), 'e2e-'));
      defer(() => rmSync(home, { recursive: true, force: true }));
      const port = String(await freePort());
      const [program, ...args] = upstream.command(port);
      const server = await start(program, args, { HOME: home, ...upstream.env }, /listening|running on|Server:|http:\/\/\S+:\d+/i);
      defer(() => server.stop());
      const url = `http://${upstream.host ?? '127.0.0.1'}:${port}/mcp`;
      await listening(url);
      await compare(upstream.name, url, upstream, defer);
    });
  }
  if (names !== '' && !'server-everything'.includes(names)) return;
  const old = await everything('sse');
  defer(() => old.stop());
  await attempt('server-everything over HTTP+SSE', () => compare('server-everything over HTTP+SSE', old.url,
    { call: ['echo', { message: 'hello' }], says: /hello/, transport: 'sse' }, defer));
});
