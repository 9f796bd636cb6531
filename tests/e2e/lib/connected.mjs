// A token for scripts that test something else.
import { opened, submitted } from './person.mjs';

const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const CALLBACK = 'http://127.0.0.1/callback';

export async function accessToken(url, pin) {
  return (await connected(url, pin)).access_token;
}

/** A registered client, and a consent page that was opened for it. */
export async function asking(url) {
  const base = new URL(url).origin;
  const registered = await fetch(`${base}/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'Script', redirect_uris: [CALLBACK] }),
  });
  const { client_id } = await registered.json();
  const asked = new URLSearchParams({
    response_type: 'code', client_id, redirect_uri: CALLBACK, code_challenge: CHALLENGE, code_challenge_method: 'S256',
  });
  return { client_id, page: await opened(`${base}/authorize?${asked}`) };
}

/** A client that was authorized: the token response, and its `client_id`. */
export async function connected(url, pin) {
  const { client_id, page } = await asking(url);
  const back = await submitted(page, pin);
  return redeemed(url, client_id, back.searchParams.get('code'));
}

/** The first tokens for a code, or the status of another response. */
export function redeemed(url, client_id, code) {
  return exchanged(url, { grant_type: 'authorization_code', client_id, code, redirect_uri: CALLBACK, code_verifier: VERIFIER });
}

/** Its next tokens, or the status of another response. */
export function refreshed(url, { client_id, refresh_token }) {
  return exchanged(url, { grant_type: 'refresh_token', client_id, refresh_token });
}

async function exchanged(url, form) {
  const answer = await fetch(`${new URL(url).origin}/token`, { method: 'POST', body: new URLSearchParams(form) });
  return answer.status === 200 ? { client_id: form.client_id, ...await answer.json() } : answer.status;
}
