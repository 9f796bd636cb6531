// mcp-remote: a bridge that a client starts over stdio; its browser is xdg-open.
import { createRequire } from 'node:module';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { done, MESSAGE, URL_OF_SERVER } from '../matrix/stored.mjs';

const script = createRequire(import.meta.url).resolve('mcp-remote/dist/proxy.js');
const client = new Client({ name: 'matrix', version: '1' });
await client.connect(new StdioClientTransport({
  command: process.execPath, args: [script, URL_OF_SERVER, '--allow-http'], env: process.env, stderr: 'inherit',
}));
const { tools } = await client.listTools();
const { content } = await client.callTool({ name: 'echo', arguments: { message: MESSAGE } });
await client.close();
done(tools.map(({ name }) => name), content[0].text);
