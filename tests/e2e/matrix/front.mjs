// What a client of the matrix talks to: forwards everything to the proxy, notes what happens, and can let time pass. A token
// that `refuse` names reaches the proxy as one that it does not know; `expires_in` can be changed, so that a client believes
// that its token has expired.
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

const UNKNOWN_TOKEN = 'mcp_at_no_longer_good';
const bearer = (headers) => headers.authorization?.match(/^Bearer (.*)$/i)?.[1];

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The JSON-RPC methods in a body. */
function methods(body) {
  try {
    return [JSON.parse(body)].flat().map(({ method }) => method).filter(Boolean);
  } catch {
    return [];
  }
}

/** A listener for `to` (an origin); with `tls` (key and cert) over https. */
export async function front(tls = undefined) {
  const noted = { calls: [], grants: [], registrations: 0, revocations: 0 };
  const refused = new Set();
  const sockets = new Set();
  const self = { noted, to: undefined, expiresIn: undefined, tokens: undefined, clientId: undefined };

  async function handle(asked, answer) {
    const body = await read(asked);
    const path = asked.url.split('?')[0];
    const headers = { ...asked.headers, 'content-length': String(body.length) };
    delete headers['transfer-encoding'];
    if (asked.method === 'GET' || asked.method === 'HEAD') delete headers['content-length'];
    const token = bearer(headers);
    if (refused.has(token)) headers.authorization = `Bearer ${UNKNOWN_TOKEN}`;
    const { hostname, port } = new URL(self.to);
    const passed = request({ host: hostname, port, method: asked.method, path: asked.url, headers, agent: false }, async (got) => {
      if (path === '/token') {
        answerToken(answer, got, new URLSearchParams(String(body)), asked, await read(got));
        return;
      }
      if (path === '/register' && got.statusCode === 201) noted.registrations += 1;
      if (path === '/revoke' && got.statusCode === 200) noted.revocations += 1;
      for (const method of methods(body)) noted.calls.push({ path, method, status: got.statusCode });
      answer.writeHead(got.statusCode, got.headers);
      answer.flushHeaders();
      got.on('error', () => answer.destroy());
      got.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    answer.on('close', () => passed.destroy());
    passed.end(body);
  }

  function answerToken(answer, got, form, asked, text) {
    let content = text;
    const basic = asked.headers.authorization?.match(/^Basic (.*)$/i)?.[1];
    noted.grants.push({ grant: form.get('grant_type'), status: got.statusCode });
    if (got.statusCode === 200) {
      const tokens = JSON.parse(text);
      self.tokens = tokens;
      const [id, secret] = basic ? Buffer.from(basic, 'base64').toString().split(':').map(decodeURIComponent) : [];
      self.clientId = form.get('client_id') ?? id;
      self.clientSecret = form.get('client_secret') ?? secret;
      if (self.expiresIn !== undefined) content = JSON.stringify({ ...tokens, expires_in: self.expiresIn });
    }
    const { 'content-length': _, 'transfer-encoding': __, ...headers } = got.headers;
    answer.writeHead(got.statusCode, headers).end(content);
  }

  const handler = (asked, answer) => handle(asked, answer).catch(() => answer.destroy());
  const server = (tls ? createTlsServer(tls, handler) : createServer(handler)).listen(0, '127.0.0.1');
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await once(server, 'listening');
  // A certificate is for a name.
  self.origin = `${tls ? 'https://localhost' : 'http://127.0.0.1'}:${server.address().port}`;
  /** From now on the proxy does not know the tokens that it issued so far. */
  self.refuseIssued = () => { if (self.tokens) refused.add(self.tokens.access_token); };
  self.stop = () => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  };
  return self;
}
