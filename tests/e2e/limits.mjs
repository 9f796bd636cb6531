// Two clients with the TypeScript SDK, one of which may only read; a token created by hand, used by curl and by the Python
// SDK; what the owner then sees; and the end of all of them.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { check, equal, run } from './lib/check.mjs';
import { Owner } from './lib/owner.mjs';
import { proxy } from './lib/processes.mjs';
import { Provider } from './lib/provider.mjs';

const command = promisify(execFile);
const PYTHON = process.env.PYTHON ?? 'python3';
// Prints the result of a call, or what the SDK says about its refusal.
const PYTHON_CALLS = `
import asyncio, sys, httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

async def main(url, token):
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers) as http, streamable_http_client(url, http_client=http) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            for name in ["whoami", "fail"]:
                try:
                    print(name, (await session.call_tool(name, {})).content[0].text)
                except Exception as error:
                    print(name, "refused:", error)

asyncio.run(main(*sys.argv[1:]))
`;

async function connected(demo) {
  const provider = new Provider(demo.pin);
  const transport = () => new StreamableHTTPClientTransport(new URL(demo.url), { authProvider: provider });
  const client = new Client({ name: 'e2e', version: '1' });
  const first = transport();
  await client.connect(first).catch(() => first.finishAuth(provider.landed.searchParams.get('code')));
  await client.connect(transport());
  const id = provider.kept.tokens.access_token.slice('mcp_at_'.length).split('.')[0];
  return { client, edit: `/connections/edit?connection=${id}` };
}

await run('limits', async (defer) => {
  const demo = await proxy(['demo']);
  defer(() => demo.stop());
  const owner = new Owner(demo.url, demo.pin);
  await owner.ask('/connections', { action: 'sign-in', pin: demo.pin });
  const [free, reader] = [await connected(demo), await connected(demo)];
  await owner.form(reader.edit, { action: 'rename', name: 'Laptop' });
  await owner.form(reader.edit, { action: 'limit', limit: 'read_only' });

  const names = async ({ client }) => (await client.listTools()).tools.map((tool) => tool.name).sort().join();
  equal('the one without a limit sees every tool', await names(free), 'add,count,echo,fail,whoami');
  equal('the other one sees what only reads', await names(reader), 'add,count,echo,whoami');
  equal('the one without a limit calls a tool that writes', (await free.client.callTool({ name: 'fail', arguments: {} })).isError, true);
  const added = await reader.client.callTool({ name: 'add', arguments: { a: 2, b: 40 } });
  equal('the other one calls a tool that reads', added.content[0].text, '42');
  const refusal = await reader.client.callTool({ name: 'fail', arguments: {} }).catch((error) => error.message);
  equal('and is told why it cannot call the other', refusal,
    `MCP error -32602: the tool “fail” was not called. Your connection “Laptop” may only read. Change it at ${owner.base}/connections`);

  const tokenForm = { action: 'create-token', name: 'Backup script', days: '7', limit: 'read_only' };
  equal('no token without the PIN', (await owner.form('/connections/token', tokenForm)).status, 303);
  const created = await owner.form('/connections/token', { ...tokenForm, pin: demo.pin });
  const token = created.text.match(/id="token">([^<]+)</)[1];
  const call = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {
    protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'curl', version: '8' } } });
  const curl = async () => (await command('curl', ['--silent', '--show-error', demo.url, '-H', `Authorization: Bearer ${token}`,
    '-H', 'Content-Type: application/json', '-H', 'Accept: application/json, text/event-stream',
    '-d', call])).stdout;
  const said = await curl();
  check('curl reaches the server with the token', said.includes('serverInfo'), said);
  const { stdout } = await command(PYTHON, ['-c', PYTHON_CALLS, demo.url, token]);
  check('the Python SDK calls a tool with the token', stdout.includes("demo's own access token"), stdout);
  check('and is told why it cannot call another', /refused: .*“fail” was not called.*“Backup script” may only read/s.test(stdout), stdout);

  const history = async ({ edit }) => {
    const { text } = await owner.ask(edit);
    return [...text.matchAll(/<tr><td class="clip"><bdi>([^<]+)<\/bdi><\/td><td[^>]*>([a-z: ]+) /g)].map(([, tool, outcome]) => `${tool} ${outcome}`).sort();
  };
  equal('the history of the first', await history(free), ['fail error of the tool']);
  equal('the history of the second', await history(reader), ['add ok', 'fail refused: not allowed']);
  await owner.form('/connections', { action: 'end-all' });
  const ended = await Promise.all([free, reader].map(({ client }) => client.listTools().then(() => 'works', (error) => error.message)));
  check('both clients have ended', ended.every((message) => message !== 'works'), ended.join('; '));
  check('the token has ended', (await curl()).includes('invalid_token'));
});
