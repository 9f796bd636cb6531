// AI SDK: its own MCP client with its own OAuth code.
import { auth, createMCPClient, UnauthorizedError } from '@ai-sdk/mcp';
import { done, MESSAGE, provider, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const authProvider = Object.assign(await provider('AI SDK'), {
  saveState: (state) => store('state', state),
  storedState: () => stored.state,
  authorizationServerInformation: () => stored.server,
  saveAuthorizationServerInformation: (information) => store('server', information),
});
const connect = () => createMCPClient({ transport: { type: 'http', url: URL_OF_SERVER, authProvider } });
let client;
try {
  client = await connect();
} catch (error) {
  const needsPerson = (cause) => cause && (cause instanceof UnauthorizedError || /unauthorized/i.test(cause.name + cause.message) || needsPerson(cause.cause));
  if (!needsPerson(error)) throw error;
  const query = (await authProvider.landed).searchParams;
  await auth(authProvider, {
    serverUrl: URL_OF_SERVER, authorizationCode: query.get('code'), callbackState: query.get('state'), callbackIssuer: query.get('iss'),
  });
  client = await connect();
}
const tools = await client.tools();
const { content } = await tools.echo.execute({ message: MESSAGE }, { messages: [], toolCallId: '1' });
await client.close();
done(Object.keys(tools), content[0].text);
