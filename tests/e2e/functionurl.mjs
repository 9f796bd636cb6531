// What a Function URL does to requests and responses: first the stand-in itself, with a function that does everything wrong,
// then the proxy behind it, over plain HTTP.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { attempt, check, equal, run } from './lib/check.mjs';
import { accessToken } from './lib/connected.mjs';
import { lambda } from './lib/function.mjs';
import { EVENT_LIMIT_BYTES } from './lib/functionurl.mjs';
import { PAT } from './lib/processes.mjs';

/** Longer than any response of the proxy takes here, shorter than the time for which an empty body hangs. */
const PATIENCE_MS = 5_000;

/** One request: the response, or how it failed. `head` is undefined if no status arrived. */
function ask(url, { method = 'GET', headers = {}, body, patience = PATIENCE_MS } = {}) {
  return new Promise((resolve) => {
    let text = '';
    let head;
    const done = (ending) => resolve({ ending, status: head?.statusCode, headers: head?.headers ?? {}, text });
    const asked = request(url, { method, headers, agent: false }, (response) => {
      head = response;
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => done('whole'))
        .on('error', () => done('cut'));
    });
    asked.on('error', () => done('cut'));
    setTimeout(() => { done('hangs'); asked.destroy(); }, patience);
    asked.end(body);
  });
}

const json = (headers = {}) => ({ 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers });

/** Whether all these processes stop within a short time. */
async function stopped(processes) {
  const state = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').match(/\) (\w)/)[1];
  for (let left = 100; left > 0; left -= 1) {
    if (processes().every((pid) => state(pid) === 'T')) return true;
    await wait(20);
  }
  return false;
}

/** The stand-in does what its comments say. */
async function standIn(defer) {
  const bad = fileURLToPath(new URL('lib/badfunction.mjs', import.meta.url));
  const url = await lambda({ UPSTREAM_MCP: 'none' }, { command: [process.execPath, bad], mostInstances: 3, emptyBodyHangsMs: 3_000 });
  defer(() => url.stop());
  const at = (path, options) => ask(`${url.origin}/${path}`, options);

  const failed = [502, 'Internal Server Error'];
  for (const path of ['no-prelude', 'bad-prelude', 'list-in-prelude', 'large-prelude', 'error', 'broken-before', 'dies-before']) {
    const { status, text } = await at(path);
    equal(`the stand-in: ${path} is a 502 that says nothing`, [status, text], failed);
  }
  for (const path of ['broken-after', 'dies-after']) {
    const { ending, text } = await at(path);
    equal(`the stand-in: ${path} is cut`, [ending, text], ['cut', 'half']);
  }
  equal('the stand-in: error trailers are seen', url.broken().map(({ type }) => type), ['Test.Broken', 'Test.Broken']);

  const hanging = await at('empty', { patience: 1_000 });
  equal('the stand-in: an empty body hangs, without a status', [hanging.ending, hanging.status], ['hangs', undefined]);
  const renamed = await at('renamed');
  equal('the stand-in: headers are renamed', [renamed.status, renamed.headers['x-amzn-remapped-www-authenticate'],
    renamed.headers['x-amzn-remapped-date'], renamed.headers['www-authenticate'], renamed.headers['x-own']],
  [401, 'Bearer', 'today', undefined, 'y']);
  const plain = await at('gzip');
  equal('the stand-in: gzip is undone', [plain.text, plain.headers['content-encoding']], ['plain text', undefined]);

  const event = async (path, options) => JSON.parse((await at(path, options)).text);
  const decoded = await event('caf%C3%A9%20a%2Fb/echo?scope=mcp+offline&a=1&a=2');
  equal('the stand-in: paths are partly decoded, and + becomes a space', [decoded.rawPath, decoded.rawQueryString, decoded.queryStringParameters],
    ['/caf\u00e9 a%2Fb/echo', 'scope=mcp offline&a=1&a=2', { scope: 'mcp offline', a: '1,2' }]);
  const sent = await event('echo', { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json; charset=utf-8',
    'transfer-encoding': 'chunked', 'X-Twice': ['a', 'b'], cookie: 'a=1; b=2' } });
  equal('the stand-in: headers are lower-case and joined, cookies apart, hop-by-hop headers gone',
    [sent.headers['x-twice'], sent.cookies, sent.headers.cookie, sent.headers['transfer-encoding']], ['a,b', ['a=1', 'b=2'], undefined, undefined]);
  equal('the stand-in: JSON is text', [sent.body, sent.isBase64Encoded], ['{}', false]);
  for (const type of ['application/x-www-form-urlencoded', 'application/octet-stream', 'application/problem+json', undefined]) {
    const { body, isBase64Encoded } = await event('echo', { method: 'POST', body: 'a=1', headers: type ? { 'content-type': type } : {} });
    equal(`the stand-in: ${type ?? 'no type'} is base64`, [body, isBase64Encoded], ['YT0x', true]);
  }
  for (const [name, size, type, status] of [
    ['5.9 MB of text', 5_900_000, 'text/plain', 200], ['4.6 MB of bytes', 4_600_000, 'image/png', 200],
    ['4.8 MB of bytes', 4_800_000, 'image/png', 413], ['6 MB of text', EVENT_LIMIT_BYTES, 'text/plain', 413],
    ['12 MB', 12_000_000, 'text/plain', 413],
  ]) {
    const answer = await at('echo', { method: 'POST', body: Buffer.alloc(size, 'x'), headers: { 'content-type': type }, patience: 20_000 });
    equal(`the stand-in: ${name}: ${status}`, answer.status, status);
  }
  await url.restart();
  const all = await Promise.all(Array.from({ length: 8 }, () => at('dies-after')));
  equal('the stand-in: no more instances than allowed', all.filter(({ status }) => status === 429).length, 5);
}

/** An upstream that does what the method of the message says, and remembers the headers of the last request. */
async function scripted(defer) {
  const seen = { headers: undefined };
  const server = createServer(async (asked, answer) => {
    seen.headers = asked.headers;
    let text = '';
    for await (const chunk of asked) text += chunk;
    if (asked.method !== 'POST') {
      answer.writeHead(204).end();
      return;
    }
    const { method, id } = JSON.parse(text);
    const result = JSON.stringify({ jsonrpc: '2.0', id, result: { length: text.length } });
    const empty = method.match(/^notifications\/(\d+)(-json)?$/);
    if (empty) {
      answer.writeHead(Number(empty[1]), empty[2] ? { 'content-type': 'application/json' } : {}).end();
    } else if (method === 'break') {
      answer.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"half":1}\n\n');
      setTimeout(() => answer.destroy(), 300);
    } else if (asked.headers['accept-encoding']?.includes('gzip')) {
      answer.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(gzipSync(result));
    } else {
      answer.writeHead(200, { 'content-type': 'application/json' }).end(result);
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => { server.closeAllConnections(); server.close(); });
  return { seen, closeIdleConnections: () => server.closeIdleConnections(), url: `http://127.0.0.1:${server.address().port}/mcp` };
}

async function proxied(defer) {
  const upstream = await scripted(defer);
  const server = await lambda({ UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT });
  defer(() => server.stop());
  const at = (path, options) => ask(`${server.origin}${path}`, options);

  const challenge = await at('/mcp', { method: 'POST', headers: json(), body: '{}' });
  equal('a 401 keeps its challenge under the new name, and says it in the body', [challenge.status,
    /resource_metadata=/.test(challenge.headers['x-amzn-remapped-www-authenticate']), /resource_metadata/.test(challenge.text)], [401, true, true]);
  const preflight = await at('/mcp', { method: 'OPTIONS', headers: { origin: 'https://client.example', 'access-control-request-method': 'POST' } });
  equal('a preflight ends: 200 and a newline', [preflight.ending, preflight.status, preflight.text, preflight.headers['access-control-allow-origin']],
    ['whole', 200, '\n', '*']);
  const head = await at('/.well-known/oauth-authorization-server', { method: 'HEAD' });
  equal('HEAD ends', [head.ending, head.status, head.text], ['whole', 200, '']);
  const odd = await at('/.well-known/oauth-authorization-server', { headers: { 'user-agent': 'caf\u00e9' } });
  equal('a header outside UTF-8 is a 400, not a failure of the function', odd.status, 400);

  const token = await accessToken(server.url, server.pin);
  check('consent ends, and so does the token request', token?.startsWith('mcp_at_'));
  const authorization = `Bearer ${token}`;
  const call = (message, headers = {}) => at('/mcp', { method: 'POST', headers: json({ authorization, ...headers }),
    body: JSON.stringify({ jsonrpc: '2.0', ...message }), patience: 20_000 });
  for (const what of ['202', '200', '200-json', '204']) {
    const answer = await call({ method: `notifications/${what}` });
    equal(`a notification that the upstream acknowledges by ${what} is 202 and a newline`,
      [answer.ending, answer.status, answer.text, answer.headers['content-type']], ['whole', 202, '\n', 'application/json']);
  }
  const ended = await at('/mcp', { method: 'DELETE', headers: { authorization, 'mcp-session-id': 's' } });
  equal('the end of a session ends', [ended.ending, ended.status < 300], ['whole', true]);
  const squeezed = await call({ id: 1, method: 'tools/list' }, { 'accept-encoding': 'gzip, br' });
  equal('nothing is compressed, because nobody asks for it', [JSON.parse(squeezed.text).id, upstream.seen.headers['accept-encoding']], [1, undefined]);
  const large = await call({ id: 2, method: 'tools/call', params: { text: 'x'.repeat(5_900_000) } });
  equal('5.9 MB go through', [large.status, JSON.parse(large.text || '{}').result?.length > 5_900_000], [200, true]);

  const half = await call({ id: 3, method: 'break' });
  equal('a stream that breaks is cut, not ended', [half.ending, half.text], ['cut', 'data: {"half":1}\n\n']);
  equal('and is reported with the trailers that were announced', server.broken().map(({ declared }) => declared?.toLowerCase().split(/, */).sort()),
    [['lambda-runtime-function-error-body', 'lambda-runtime-function-error-type']]);

  check('an idle instance does not run', await stopped(server.processes));
  // Only now the instance sees what the other end of a connection did while it was stopped.
  for (let id = 10; id < 20; id += 1) {
    upstream.closeIdleConnections();
    const { status } = await call({ id, method: 'tools/list' });
    if (id === 19 || status !== 200) equal('and goes on when it is needed, though its idle connections are dead', status, 200);
    await stopped(server.processes);
  }
  equal('nothing that AWS punishes', [...new Set(server.faults())], []);
}

await run('functionurl', async (defer) => {
  await attempt('the stand-in', () => standIn(defer));
  await attempt('the proxy', () => proxied(defer));
});
