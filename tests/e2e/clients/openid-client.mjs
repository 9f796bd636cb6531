// openid-client: discovery, registration and grants for OAuth and OpenID Connect.
import * as openid from 'openid-client';
import { open } from '../matrix/browser.mjs';
import { useTokens } from '../matrix/rpc.mjs';
import { callback, done, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const { url: redirectUri, landed } = await callback();
const issuer = new URL(new URL(URL_OF_SERVER).origin);
const metadata = {
  client_name: 'openid-client', redirect_uris: [redirectUri], token_endpoint_auth_method: 'client_secret_post',
  grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
};
const config = stored.client
  ? await openid.discovery(issuer, stored.client.client_id, stored.client, openid.ClientSecretPost(), { algorithm: 'oauth2' })
  : await openid.dynamicClientRegistration(issuer, metadata, openid.ClientSecretPost(), { algorithm: 'oauth2' });
if (!stored.client) store('client', config.clientMetadata());
const keep = (tokens) => {
  store('tokens', { ...tokens, expiresAt: Date.now() + tokens.expires_in * 1000 });
  return stored.tokens;
};

const result = await useTokens({
  tokens: stored.tokens,
  expired: (tokens) => Date.now() >= tokens.expiresAt,
  refresh: (tokens) => openid.refreshTokenGrant(config, tokens.refresh_token, { resource: URL_OF_SERVER }).then(keep, (error) => {
    if (error.error === 'invalid_grant') return undefined;
    throw error;
  }),
  async signIn() {
    const [verifier, state] = [openid.randomPKCECodeVerifier(), openid.randomState()];
    open(openid.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri, state, resource: URL_OF_SERVER,
      code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    }));
    const expected = { pkceCodeVerifier: verifier, expectedState: state };
    return keep(await openid.authorizationCodeGrant(config, await landed, expected, { resource: URL_OF_SERVER }));
  },
  send: (tokens, url, { method, headers, body }) =>
    openid.fetchProtectedResource(config, tokens.access_token, new URL(url), method, body, new Headers(headers))
      .catch((error) => {
        if (error.code === 'OAUTH_WWW_AUTHENTICATE_CHALLENGE') return error.cause.response ?? error.response;
        throw error;
      }),
});
done(result.tools, result.text);
