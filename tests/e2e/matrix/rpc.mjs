// Just enough MCP for clients that are only OAuth libraries: lists and calls with a function that sends a request with a token.
import { MESSAGE, URL_OF_SERVER } from './stored.mjs';

/** `send(url, options)` is like `fetch`, and adds the token. Returns undefined if the token is refused. */
export async function listAndCall(send) {
  let session = {};
  async function ask(method, params, id) {
    const answer = await send(URL_OF_SERVER, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...session },
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
    });
    const text = await answer.text();
    if (answer.status === 401) return undefined;
    if (!answer.ok) throw new Error(`${method}: ${answer.status} ${text}`);
    if (answer.headers.has('mcp-session-id')) session = { 'mcp-session-id': answer.headers.get('mcp-session-id') };
    const json = text.match(/^data: ?(.+)$/m)?.[1] ?? text;
    return json.trim() === '' ? {} : JSON.parse(json).result;
  }
  const begun = await ask('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'matrix', version: '1' } }, 1);
  if (!begun) return undefined;
  await ask('notifications/initialized', {});
  const { tools } = await ask('tools/list', {}, 2);
  const { content } = await ask('tools/call', { name: 'echo', arguments: { message: MESSAGE } }, 3);
  return { tools: tools.map(({ name }) => name), text: content[0].text };
}

/**
 * A whole run of a client that is only an OAuth library: uses the stored token unless it has expired, refreshes it if it was
 * refused, and signs in if the refresh token was refused too. `tokens` is what is stored.
 */
export async function useTokens({ expired, refresh, signIn, send, tokens }) {
  let current = tokens;
  if (current && !expired(current)) {
    const result = await listAndCall((url, options) => send(current, url, options));
    if (result) return result;
  }
  current = current && await refresh(current);
  current ??= await signIn();
  const result = await listAndCall((url, options) => send(current, url, options));
  if (!result) throw new Error('the new token was refused');
  return result;
}
