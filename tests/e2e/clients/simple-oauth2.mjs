// simple-oauth2: neither discovery nor registration nor PKCE of its own; it gets the endpoints from the documents.
import { createHash, randomBytes } from 'node:crypto';
import simpleOauth2 from 'simple-oauth2';
import { open } from '../matrix/browser.mjs';
import { useTokens } from '../matrix/rpc.mjs';
import { callback, done, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const { url: redirectUri, landed } = await callback();
const { origin } = new URL(URL_OF_SERVER);
const server = await (await fetch(`${origin}/.well-known/oauth-authorization-server`)).json();
if (!stored.client) {
  const registered = await fetch(server.registration_endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'simple-oauth2', redirect_uris: [redirectUri], token_endpoint_auth_method: 'client_secret_basic' }),
  });
  store('client', await registered.json());
}
const path = (url) => new URL(url).pathname;
const grant = new simpleOauth2.AuthorizationCode({
  client: { id: stored.client.client_id, secret: stored.client.client_secret },
  auth: {
    tokenHost: origin, tokenPath: path(server.token_endpoint), authorizePath: path(server.authorization_endpoint),
    revokePath: path(server.revocation_endpoint),
  },
});
const keep = (token) => {
  store('tokens', token);
  return token;
};

const result = await useTokens({
  tokens: stored.tokens && grant.createToken(stored.tokens),
  expired: (token) => token.expired(),
  refresh: (token) => token.refresh({ resource: URL_OF_SERVER }).then(keep, (error) => {
    if (error.data?.payload?.error === 'invalid_grant') return undefined;
    throw error;
  }),
  async signIn() {
    const verifier = randomBytes(32).toString('base64url');
    open(grant.authorizeURL({
      redirect_uri: redirectUri, state: 'state-of-the-client', resource: URL_OF_SERVER, code_challenge_method: 'S256',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    }));
    const code = (await landed).searchParams.get('code');
    return keep(await grant.getToken({ code, redirect_uri: redirectUri, code_verifier: verifier, resource: URL_OF_SERVER }));
  },
  send: ({ token }, url, { headers, ...options }) =>
    fetch(url, { ...options, headers: { ...headers, authorization: `Bearer ${token.access_token}` } }),
});
done(result.tools, result.text);
