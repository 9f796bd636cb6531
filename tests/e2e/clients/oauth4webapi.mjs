// oauth4webapi: checks every document and response as the RFCs say, and sends the token itself.
import * as oauth from 'oauth4webapi';
import { open } from '../matrix/browser.mjs';
import { useTokens } from '../matrix/rpc.mjs';
import { callback, done, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const { url: redirectUri, landed } = await callback();
const resource = new URL(URL_OF_SERVER);
const protectedResource = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource));
const issuer = new URL(protectedResource.authorization_servers[0]);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }));
if (!stored.client) {
  const registered = await oauth.dynamicClientRegistrationRequest(as, {
    client_name: 'oauth4webapi', redirect_uris: [redirectUri], token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
  });
  store('client', await oauth.processDynamicClientRegistrationResponse(registered));
}
const { client } = stored;
const auth = oauth.ClientSecretBasic(client.client_secret);
const keep = (tokens) => {
  store('tokens', { ...tokens, expiresAt: Date.now() + tokens.expires_in * 1000 });
  return stored.tokens;
};

const result = await useTokens({
  tokens: stored.tokens,
  expired: (tokens) => Date.now() >= tokens.expiresAt,
  async refresh(tokens) {
    const answer = await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token,
      { additionalParameters: { resource: URL_OF_SERVER } });
    try {
      return keep(await oauth.processRefreshTokenResponse(as, client, answer));
    } catch (error) {
      if (error instanceof oauth.ResponseBodyError && error.error === 'invalid_grant') return undefined;
      throw error;
    }
  },
  async signIn() {
    const [verifier, state] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState()];
    const asked = new URL(as.authorization_endpoint);
    asked.search = new URLSearchParams({
      response_type: 'code', client_id: client.client_id, redirect_uri: redirectUri, state, resource: URL_OF_SERVER,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    });
    open(asked);
    const back = oauth.validateAuthResponse(as, client, await landed, state);
    const answer = await oauth.authorizationCodeGrantRequest(as, client, auth, back, redirectUri, verifier,
      { additionalParameters: { resource: URL_OF_SERVER } });
    return keep(await oauth.processAuthorizationCodeResponse(as, client, answer));
  },
  send: (tokens, url, { method, headers, body }) =>
    oauth.protectedResourceRequest(tokens.access_token, method, new URL(url), new Headers(headers), body)
      .catch((error) => {
        // It reads the challenge of a 401 and throws it.
        if (error instanceof oauth.WWWAuthenticateChallengeError) return error.response;
        throw error;
      }),
});
done(result.tools, result.text);
