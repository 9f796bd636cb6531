// Serves a directory of `<state>.html` + `<state>.csp` on loopback as the program would send them.
import { createServer } from 'node:http';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The headers of every page. */
const headers = (csp) => ({
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': csp,
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
});

/**
 * Starts on a free port. `extra` maps other paths to `[html, csp]`. If `answer` is set, it returns the response to a POST:
 * `[status, headers]`.
 */
export async function serve(directory, extra = {}) {
  const states = readdirSync(directory).filter((f) => f.endsWith('.html')).map((f) => f.slice(0, -5)).sort();
  const server = { states, requests: [], posts: [], answer: () => [204, {}] };
  server.nextPost = () => new Promise((resolve, reject) => {
    const tooLate = setTimeout(() => reject(new Error('no POST arrived')), 10_000);
    server.arrived = (post) => { clearTimeout(tooLate); resolve(post); };
  });
  const http = createServer((request, response) => {
    server.requests.push(`${request.method} ${request.url}`);
    if (request.method === 'POST') {
      let body = '';
      request.on('data', (chunk) => { body += chunk; });
      request.on('end', () => {
        const post = { path: request.url, fields: Object.fromEntries(new URLSearchParams(body)), headers: request.headers };
        server.posts.push(post);
        response.writeHead(...server.answer(post)).end();
        server.arrived?.(post);
      });
      return;
    }
    const state = request.url.slice(1);
    if (Object.hasOwn(extra, request.url)) {
      const [html, csp] = extra[request.url];
      response.writeHead(200, csp === undefined ? { 'content-type': 'text/html' } : headers(csp)).end(html);
    } else if (request.url === '/favicon.svg') {
      response.writeHead(200, { 'content-type': 'image/svg+xml' }).end(readFileSync(join(directory, 'favicon.svg')));
    } else if (states.includes(state)) {
      const csp = readFileSync(join(directory, `${state}.csp`), 'utf8');
      response.writeHead(200, headers(csp)).end(readFileSync(join(directory, `${state}.html`)));
    } else if (request.url.startsWith('/connections/')) {
      response.writeHead(204).end(); // the browser stays where it is
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  server.base = `http://127.0.0.1:${http.address().port}`;
  server.close = () => new Promise((resolve) => { http.closeAllConnections(); http.close(resolve); });
  return server;
}
