// A Function URL on loopback: HTTP requests become events of payload version 2.0, which instances of the function
// fetch from a Runtime API and answer as streams. An instance serves one request at a time; when all are busy,
// another is started, as Lambda does. (Exact semantics are the matter of tests/lambda; here real clients pass through.)
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './processes.mjs';

const BINARY = process.env.FUNCTION_BINARY
  ?? fileURLToPath(new URL('../../../target/debug/examples/function', import.meta.url));
const PIN = 'e2ePIN2345';
const MOST_INSTANCES = 20;
const TIMEOUT_MS = 360_000;
// Between the JSON of status and headers and the body.
const SEPARATOR = Buffer.alloc(8);

/** Starts the table and the function before this upstream. */
export async function lambda(env) {
  const table = spawn(BINARY, ['table'], { stdio: ['ignore', 'pipe', 'inherit'] });
  endWithUs(table);
  const [line] = await once(table.stdout, 'data');
  const state = String(line).trim();

  const waiting = []; // instances that asked for work
  const running = new Map(); // request id → the response to write to
  const instances = new Set();
  let requests = 0;
  let started = 0;
  let runtimeApi;
  let log = '';

  function instance() {
    const child = spawn(BINARY, ['serve', state], {
      env: { PATH: process.env.PATH, AUTH_PIN: PIN, AWS_LAMBDA_RUNTIME_API: runtimeApi, AWS_LAMBDA_FUNCTION_NAME: 'e2e',
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256', AWS_LAMBDA_FUNCTION_VERSION: '$LATEST', BASE_URL: base, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const output of [child.stdout, child.stderr]) output.on('data', (chunk) => { log += chunk; });
    endWithUs(child);
    instances.add(child);
    started += 1;
    child.on('exit', () => instances.delete(child));
  }

  const queue = [];
  function dispatch() {
    while (queue.length > 0 && waiting.length > 0) {
      const { event, response } = queue.shift();
      requests += 1;
      const id = `00000000-0000-4000-8000-${String(requests).padStart(12, '0')}`;
      running.set(id, response);
      waiting.shift().writeHead(200, {
        'content-type': 'application/json',
        'lambda-runtime-aws-request-id': id,
        'lambda-runtime-deadline-ms': String(Date.now() + TIMEOUT_MS),
        'lambda-runtime-invoked-function-arn': 'arn:aws:lambda:eu-central-1:123456789012:function:e2e',
      }).end(JSON.stringify(event));
    }
    if (queue.length > 0 && instances.size < MOST_INSTANCES) instance();
  }

  const runtime = createServer((asked, answer) => {
    const id = asked.url.match(/\/invocation\/([^/]+)\/(?:response|error)$/)?.[1];
    if (asked.method === 'GET') {
      waiting.push(answer);
      answer.on('close', () => { const at = waiting.indexOf(answer); if (at >= 0) waiting.splice(at, 1); });
      dispatch();
      return;
    }
    const response = running.get(id);
    if (response === undefined) {
      answer.writeHead(400).end();
      return;
    }
    let prelude = Buffer.alloc(0);
    let begun = false;
    asked.on('data', (chunk) => {
      if (begun) {
        response.write(chunk);
        return;
      }
      prelude = Buffer.concat([prelude, chunk]);
      const at = prelude.indexOf(SEPARATOR);
      if (at < 0) return;
      begun = true;
      const { statusCode, headers = {}, cookies = [] } = JSON.parse(prelude.subarray(0, at));
      response.writeHead(statusCode, { ...headers, ...(cookies.length > 0 ? { 'set-cookie': cookies } : {}) });
      response.flushHeaders();
      const rest = prelude.subarray(at + SEPARATOR.length);
      if (rest.length > 0) response.write(rest);
    });
    asked.on('end', () => {
      if (!begun) response.writeHead(502).end(prelude);
      else response.end();
      running.delete(id);
      answer.writeHead(202).end();
    });
  }).listen(0, '127.0.0.1');
  await once(runtime, 'listening');
  runtimeApi = `127.0.0.1:${runtime.address().port}`;

  const front = createServer(async (asked, response) => {
    const body = [];
    for await (const chunk of asked) body.push(chunk);
    const [rawPath, rawQueryString = ''] = asked.url.split(/\?(.*)/s);
    const headers = Object.fromEntries(Object.entries(asked.headers)
      .filter(([name]) => name !== 'cookie')
      .map(([name, value]) => [name, [value].flat().join(',')]));
    const cookies = asked.headers.cookie?.split('; ');
    queue.push({
      response,
      event: {
        version: '2.0', routeKey: '$default', rawPath, rawQueryString, headers, ...(cookies ? { cookies } : {}),
        requestContext: {
          accountId: 'anonymous', apiId: 'e2e', domainName: 'e2e.lambda-url.eu-central-1.on.aws', domainPrefix: 'e2e',
          http: { method: asked.method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: asked.headers['user-agent'] ?? '' },
          requestId: 'r', routeKey: '$default', stage: '$default', time: '23/Nov/2026:12:00:00 +0000', timeEpoch: Date.now(),
        },
        ...(body.length > 0 ? { body: Buffer.concat(body).toString('base64'), isBase64Encoded: true } : { isBase64Encoded: false }),
      },
    });
    dispatch();
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  const base = `http://127.0.0.1:${front.address().port}`;

  return {
    origin: base,
    url: `${env.BASE_URL ?? base}/mcp`,
    pin: PIN,
    output: () => log,
    instances: () => started,
    /** All instances go, as when code is updated; the table stays. */
    async restart() {
      await Promise.all([...instances].map((child) => { child.kill('SIGKILL'); return once(child, 'exit'); }));
      // What they asked for last is not for those that come.
      waiting.length = 0;
    },
    async stop() {
      front.closeAllConnections();
      front.close();
      const ended = [...instances, table].map((child) => { child.kill('SIGKILL'); return once(child, 'exit'); });
      runtime.closeAllConnections();
      runtime.close();
      await Promise.all(ended);
      return 0;
    },
  };
}
