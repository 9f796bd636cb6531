// The same for both lines of the TypeScript SDK, in the versions of ../package.json.
import * as two from '@modelcontextprotocol/client';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { done, MESSAGE, provider, URL_OF_SERVER } from './stored.mjs';

export const SDK_1 = { Client, StreamableHTTPClientTransport, UnauthorizedError };
export const SDK_2 = two;

export async function run({ Client, StreamableHTTPClientTransport, UnauthorizedError }) {
  const authProvider = await provider('TypeScript SDK');
  const transport = () => new StreamableHTTPClientTransport(new URL(URL_OF_SERVER), { authProvider });
  const fresh = () => new Client({ name: 'matrix', version: '1' });
  let client = fresh();
  const first = transport();
  try {
    await client.connect(first);
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    const back = await authProvider.landed;
    await first.finishAuth(back.searchParams.get('code'), back.searchParams.get('iss'));
    client = fresh();
    await client.connect(transport());
  }
  const { tools } = await client.listTools();
  const { content } = await client.callTool({ name: 'echo', arguments: { message: MESSAGE } });
  await client.close();
  done(tools.map(({ name }) => name), content[0].text);
}
