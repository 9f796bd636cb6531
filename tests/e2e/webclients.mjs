// Clients in a page of another origin: use-mcp, which signs in through a popup, and the TypeScript SDK with headers of its own.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { check, equal, run } from './lib/check.mjs';
import { launch } from './lib/chromium.mjs';
import { everything, passOn, PAT, proxy } from './lib/processes.mjs';

const SCRIPTS = ['usemcp', 'callback', 'sdk'];
const OWN_HEADERS = {
  'x-mcp-foo': 'of the page', 'x-tenant': 't-1', 'mcp-param-user_id': '7', baggage: 'a=b', tracestate: 'a=b',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'accept-language': 'de',
};

/** A server on loopback, and its origin. */
async function listen(handler, defer) {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

/** The site of the clients: a page for each script. */
async function site(defer) {
  const { outputFiles } = await build({
    entryPoints: SCRIPTS.map((name) => fileURLToPath(new URL(`lib/webclients/${name}.js`, import.meta.url))),
    bundle: true, format: 'esm', platform: 'browser', outdir: '/', write: false,
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const scripts = new Map(outputFiles.map(({ path, contents }) => [path, contents]));
  return listen((asked, answer) => {
    const path = new URL(asked.url, 'http://site').pathname;
    const name = path === '/oauth/callback' ? 'callback' : path.slice(1);
    if (scripts.has(path)) {
      answer.setHeader('content-type', 'text/javascript').end(scripts.get(path));
    } else if (SCRIPTS.includes(name)) {
      answer.setHeader('content-type', 'text/html').end(`<!doctype html><body><script type="module" src="/${name}.js"></script>`);
    } else {
      answer.writeHead(404).end();
    }
  }, defer);
}

await run('webclients', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const received = [];
  const recorder = await listen((asked, answer) => {
    received.push(asked.headers);
    passOn(asked, answer, upstream.url, asked.headers);
  }, defer);
  const server = await proxy(['serve', '--state', 'memory'], {
    UPSTREAM_MCP: `${recorder}/mcp`, UPSTREAM_TOKEN: PAT, AUTH_PIN: 'e2ePIN2345', FORWARD_HEADERS: 'x-tenant',
  });
  defer(() => server.stop());
  const origin = await site(defer);
  const { context, page, problems } = await launch(defer);
  page.setDefaultTimeout(10_000);

  const [popup] = await Promise.all([
    context.waitForEvent('page'),
    page.goto(`${origin}/usemcp?server=${encodeURIComponent(server.url)}`),
  ]);
  await popup.locator('input[name=pin]').fill('wrongPIN9');
  await popup.click('button[value=authorize]');
  await popup.waitForSelector('[role=alert]');
  await popup.locator('input[name=pin]').fill(server.pin);
  const closed = popup.waitForEvent('close');
  await popup.click('button[value=authorize]');
  await closed;
  check('use-mcp: the popup comes back to the page that opened it, and closes', true);
  await page.waitForSelector('output[data-state=ready], output[data-state=failed]');
  const tools = Number(await page.textContent('output'));
  check('use-mcp: connected, with all tools', tools >= 10, await page.textContent('output'));

  const stored = await page.evaluate(() => Object.entries(localStorage).find(([key]) => key.endsWith('_tokens'))[1]);
  const headers = { ...OWN_HEADERS, authorization: `Bearer ${JSON.parse(stored).access_token}` };
  await page.goto(`${origin}/sdk`);
  await page.waitForFunction(() => window.callTool);
  received.length = 0;
  const { content } = await page.evaluate((all) => window.callTool(...all), [server.url, headers, 'echo', { message: 'grüß dich' }]);
  check('TypeScript SDK: a tool call', content[0].text.includes('grüß dich'), content[0].text);
  const call = received.at(-1);
  for (const [name, value] of Object.entries(OWN_HEADERS)) equal(`TypeScript SDK: ${name} arrives`, call[name], value);
  equal('with the credential of the proxy', call.authorization, `Bearer ${PAT}`);
  equal('and nothing of the browser', [call.origin, call.referer, call['sec-fetch-mode']], [undefined, undefined, undefined]);

  const refused = await page.evaluate(([url, all]) => window.callTool(url, { ...all, 'x-other': '1' }, 'echo', {})
    .then(() => 'allowed', (error) => error.message), [server.url, headers]);
  check('a header that the proxy does not forward is refused by the browser', /Failed to fetch/.test(refused), refused);
  // use-mcp says that it must sign in, and the browser why it refuses.
  const unexpected = problems.filter((problem) => !/^\[useMcp\]|x-other/.test(problem));
  equal('no script error, no violated policy, no foreign request', unexpected, []);
});
