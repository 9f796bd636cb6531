// Mastra: its own provider does not register, so it gets a client that is registered before.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MCPClient, MCPOAuthClientProvider } from '@mastra/mcp';
import { open } from '../matrix/browser.mjs';
import { done, HOME, MESSAGE, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const redirectUrl = 'http://127.0.0.1:33421/oauth/callback';
const clientMetadata = {
  client_name: 'Mastra', redirect_uris: [redirectUrl], grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'], token_endpoint_auth_method: 'none',
};
if (!stored.client) {
  const registered = await fetch(new URL('/register', URL_OF_SERVER), {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(clientMetadata),
  });
  store('client', await registered.json());
}
const file = join(HOME, 'mastra.json');
const kept = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
const write = () => writeFileSync(file, JSON.stringify(kept));
// Only `authenticate` listens for the callback.
let listening = false;
const authProvider = new MCPOAuthClientProvider({
  redirectUrl, clientMetadata, clientInformation: stored.client, onRedirectToAuthorization: (url) => { if (listening) open(url); },
  storage: {
    get: (key) => kept[key],
    set: (key, value) => { kept[key] = value; write(); },
    delete: (key) => { delete kept[key]; write(); },
  },
});
const client = new MCPClient({ servers: { proxy: { url: new URL(URL_OF_SERVER), authProvider } } });
let tools = await client.listTools().catch(() => ({}));
if (Object.keys(tools).length === 0) {
  listening = true;
  await client.authenticate('proxy');
  tools = await client.listTools();
}
const result = await tools.proxy_echo.execute({ message: MESSAGE }, {});
await client.disconnect();
done(Object.keys(tools), JSON.stringify(result));
