// What a TypeScript client stores between runs, with a person who knows the PIN.
import { authorize } from './person.mjs';

export const CALLBACK = 'http://127.0.0.1:33418/callback';

export class Provider {
  kept = {};
  asked = 0;
  landed = undefined;

  constructor(pin) {
    this.pin = pin;
  }

  get redirectUrl() { return CALLBACK; }

  get clientMetadata() {
    return {
      client_name: 'End-to-end test',
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }

  state() { return 'state-of-the-client'; }
  clientInformation() { return this.kept.client; }
  saveClientInformation(client) { this.kept.client = client; }
  tokens() { return this.kept.tokens; }
  saveTokens(tokens) { this.kept.tokens = tokens; }
  saveCodeVerifier(verifier) { this.kept.verifier = verifier; }
  codeVerifier() { return this.kept.verifier; }

  async redirectToAuthorization(url) {
    this.asked += 1;
    this.landed = await authorize(url, this.pin);
  }

  invalidateCredentials(scope) {
    if (scope === 'all' || scope === 'tokens') delete this.kept.tokens;
    if (scope === 'all' || scope === 'client') delete this.kept.client;
  }
}
