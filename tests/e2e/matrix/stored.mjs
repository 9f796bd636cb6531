// For scripts that drive a library: what the client stores between runs, a callback that listens, and the result's line.
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { open } from './browser.mjs';

export const [URL_OF_SERVER, HOME, MESSAGE] = process.argv.slice(2);
const FILE = join(HOME, 'stored.json');

export const stored = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
export const store = (name, value) => {
  stored[name] = value;
  writeFileSync(FILE, JSON.stringify(stored));
};

/** Listens for one redirect, at the same port in each run. */
export async function callback() {
  let arrived;
  const landed = new Promise((resolve) => { arrived = resolve; });
  const server = createServer((asked, answer) => {
    answer.end('Done.');
    arrived(new URL(asked.url, stored.callback));
  }).listen(stored.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  store('port', server.address().port);
  store('callback', `http://127.0.0.1:${stored.port}/callback`);
  return { url: stored.callback, landed };
}

/** The interface that the SDK, AI SDK and Mastra have in common. */
export async function provider(name) {
  const { url, landed } = await callback();
  return {
    landed,
    redirectUrl: url,
    clientMetadata: {
      client_name: name,
      redirect_uris: [url],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    state: () => 'state-of-the-client',
    clientInformation: () => stored.client,
    saveClientInformation: (client) => store('client', client),
    tokens: () => stored.tokens,
    saveTokens: (tokens) => store('tokens', tokens),
    codeVerifier: () => stored.verifier,
    saveCodeVerifier: (verifier) => store('verifier', verifier),
    redirectToAuthorization: (authorization) => open(String(authorization)),
    invalidateCredentials(scope) {
      if (scope === 'all' || scope === 'tokens') store('tokens', undefined);
      if (scope === 'all' || scope === 'client') store('client', undefined);
    },
  };
}

export function done(tools, text) {
  console.log(`\n${JSON.stringify({ tools, text })}`);
  process.exit(0);
}
