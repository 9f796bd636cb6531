// Real clients through a distribution as in infra/edge.yaml, in front of the Lambda host behind a Function URL. The origin
// refuses all other callers.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { check, equal, run } from './lib/check.mjs';
import { cloudfront, VIEWER_ADDRESS } from './lib/cloudfront.mjs';
import { lambda } from './lib/function.mjs';
import { journey, SDKS } from './lib/journey.mjs';
import { everything, PAT } from './lib/processes.mjs';
import { pythonClient } from './lib/python.mjs';

const SECRET = 'origin-secret-of-the-end-to-end-tests'.replaceAll('-', '');
const SILENCE_MS = 300;

/** An origin that returns what it received, and one path on which it does not respond. */
async function recorder(defer) {
  const server = createServer((asked, answer) => {
    if (asked.url === '/silent') return;
    answer.writeHead(200, { 'content-type': 'text/event-stream', 'x-amzn-Remapped-www-authenticate': 'Bearer' });
    if (asked.url === '/stops') {
      answer.write('data: 1\n\n');
      return;
    }
    if (asked.url === '/comments') {
      let left = 6;
      const timer = setInterval(() => {
        left -= 1;
        answer.write(': still here\n\n');
        if (left === 0) {
          clearInterval(timer);
          answer.end('data: 2\n\n');
        }
      }, SILENCE_MS / 3);
      return;
    }
    answer.end(JSON.stringify({ url: asked.url, headers: asked.headers }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

async function passing(defer) {
  const origin = await recorder(defer);
  const front = await cloudfront({ secret: SECRET, silenceMs: SILENCE_MS });
  defer(() => front.stop());
  front.to(origin);
  const headers = {
    authorization: 'Bearer mcp_at_x', cookie: '__Host-a=1; b=2', 'true-client-ip': '192.0.2.1', 'x-origin-secret': 'guessed',
    'cloudfront-viewer-address': '192.0.2.1:1', 'mcp-session-id': 's', 'x-real-ip': '192.0.2.1',
  };
  const answer = await fetch(`${front.url}/authorize?scope=mcp+offline_access&a=1&b=%2F&a=2`, { headers });
  const got = JSON.parse(await answer.text());
  equal('the query arrives', got.url, '/authorize?scope=mcp+offline_access&a=1&a=2&b=%2F');
  equal('the origin sees its own name', got.headers.host, new URL(origin).host);
  equal('the origin sees the viewer\'s address', got.headers['true-client-ip'], VIEWER_ADDRESS);
  equal('the origin sees the secret', got.headers['x-origin-secret'], SECRET);
  equal('token, cookies and session arrive', [got.headers.authorization, got.headers.cookie, got.headers['mcp-session-id']],
    ['Bearer mcp_at_x', '__Host-a=1; b=2', 's']);
  equal('what only CloudFront may say does not', [got.headers['x-real-ip'], got.headers['cloudfront-viewer-address']], [undefined, undefined]);
  equal('a header that the Function URL renamed stays renamed', answer.headers.get('x-amzn-remapped-www-authenticate'), 'Bearer');

  const long = await fetch(`${front.url}/authorize?state=${'s'.repeat(8200)}`);
  equal('a URL beyond the limit is 414', long.status, 414);
  equal('a silent origin is 504', (await fetch(`${front.url}/silent`, { method: 'POST', body: '{}' })).status, 504);
  const stopped = await fetch(`${front.url}/stops`);
  check('a stream that falls silent is cut off', await stopped.text().then(() => false, () => true));
  const kept = await (await fetch(`${front.url}/comments`)).text();
  check('a stream with comments in between is not', kept.endsWith('data: 2\n\n'));

  front.to('http://127.0.0.1:9');
  equal('an origin that cannot be reached is 502', (await fetch(`${front.url}/token`, { method: 'POST', body: '{}' })).status, 502);
}

async function refused(server) {
  for (const [name, headers] of [['without the secret', {}], ['with a wrong one', { 'x-origin-secret': `${SECRET}x` }]]) {
    for (const [method, path] of [['POST', '/mcp'], ['POST', '/register'], ['POST', '/token'], ['GET', '/authorize'], ['GET', '/connections'],
      ['GET', '/.well-known/oauth-protected-resource/mcp'], ['GET', '/']]) {
      const answer = await fetch(`${server.origin}${path}`, { method, headers: { ...headers, 'true-client-ip': VIEWER_ADDRESS } });
      const { error } = await answer.json();
      equal(`${method} ${path} at the origin, ${name}`, [answer.status, error], [403, 'access_denied']);
    }
  }
}

await run('cloudfront', async (defer) => {
  await passing(defer);

  const upstream = await everything();
  defer(() => upstream.stop());
  const front = await cloudfront({ secret: SECRET });
  defer(() => front.stop());
  const server = await lambda({ UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, BASE_URL: front.url, ORIGIN_SECRET: SECRET });
  defer(() => server.stop());
  front.to(server.origin);
  equal('the connector URL is the distribution\'s', server.url, `${front.url}/mcp`);
  await refused(server);

  const challenged = await fetch(server.url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
  equal('the challenge has its own name', challenged.headers.get('www-authenticate'),
    `Bearer resource_metadata="${front.url}/.well-known/oauth-protected-resource/mcp", scope="mcp"`);
  equal('and the body says the same', (await challenged.json()).resource_metadata, `${front.url}/.well-known/oauth-protected-resource/mcp`);
  const document = await (await fetch(`${front.url}/.well-known/oauth-protected-resource/mcp`)).json();
  equal('the document names the URL that was typed', document.resource, server.url);

  for (const [name, sdk] of Object.entries(SDKS)) await journey(`CloudFront, ${name}`, sdk, server);
  await pythonClient('CloudFront, Python SDK', server, defer);
  check('the function at the edge took part', front.seen.answered > 3 && front.seen.passed > front.seen.answered, JSON.stringify(front.seen));

  const authorized = server.output().split('\n').filter((line) => line.includes('"event":"authorized"')).map((line) => JSON.parse(line).address);
  const addresses = [...new Set(authorized)];
  check('the function knows the viewer\'s address', authorized.length >= 4 && (addresses.join() === VIEWER_ADDRESS), addresses.join(', '));
  equal('nothing that AWS punishes', [...new Set(server.faults())], []);
  check('the origin secret is not in the log', !server.output().includes(SECRET));
});
