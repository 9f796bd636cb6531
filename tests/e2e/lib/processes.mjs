// The programs under test: the proxy, and an upstream that requires its token.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { createServer as createListener } from 'node:net';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export const BINARY = process.env.PROXY_BINARY
  ?? fileURLToPath(new URL('../../../target/debug/lambda-oauth-mcp-proxy', import.meta.url));
export const PAT = 'pat-of-the-end-to-end-tests-8c2f41';

// The proxy gives running responses 30 seconds to finish; nothing needs longer to stop.
const STOPPED_MS = 40_000;

/** A caller that is interrupted while a program starts cannot call `stop`: the program ends when this process does. */
export function endWithUs(child) {
  alive.add(child);
  child.once('exit', () => alive.delete(child));
}

const alive = new Set();
process.on('exit', () => alive.forEach((child) => child.kill('SIGKILL')));

/** Starts a program and resolves when its output matches; if that takes longer than 60 seconds, ends it and rejects. */
export async function start(command, args, env, pattern) {
  const child = spawn(command, args, { env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env } });
  endWithUs(child);
  let output = '';
  const ended = once(child, 'exit');
  const ready = new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`not ready in time: ${output}`));
    }, 60_000);
    const read = (chunk) => {
      output += chunk;
      if (pattern.test(output)) {
        clearTimeout(late);
        resolve();
      }
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    ended.then(() => {
      clearTimeout(late);
      reject(new Error(`ended early: ${output}`));
    }, reject);
  });
  await ready;
  return {
    pid: child.pid,
    output: () => output,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), STOPPED_MS);
      await ended;
      clearTimeout(late);
      return child.exitCode; // null if it had to be killed
    },
  };
}

export async function freePort() {
  const listener = createListener().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

/** The proxy: `serve` or `demo`. With `port` it has the same address after a restart; `openFiles` are arguments of `ulimit`. */
export async function proxy(args, env = {}, port = undefined, openFiles = undefined) {
  port ??= await freePort();
  const limited = openFiles ? ['sh', '-c', `ulimit ${openFiles}; exec "$@"`, 'sh'] : [];
  const [command, ...rest] = [...limited, BINARY, ...args, '--listen', `127.0.0.1:${port}`];
  const process = await start(command, rest, env, /PIN: .*\n/);
  const read = (label) => process.output().match(new RegExp(`^${label}: (.*)$`, 'm'))[1];
  return { ...process, port, url: read('Connector URL'), pin: env.AUTH_PIN ?? read('PIN') };
}

/** Forwards a request to this origin with these headers, and its response back as it arrives. */
export function passOn(asked, answer, origin, headers) {
  const { hostname: host, port, host: authority } = new URL(origin);
  // A pooled connection could be closed by the server just when it is used again.
  const options = { host, port, method: asked.method, path: asked.url, headers: { ...headers, host: authority }, agent: false };
  const passed = request(options, (got) => {
    answer.writeHead(got.statusCode, got.headers);
    answer.flushHeaders();
    got.pipe(answer);
  });
  passed.on('error', () => answer.destroy());
  answer.on('close', () => passed.destroy());
  asked.pipe(passed);
}

/** Puts a check of the token in front of a server that has none. */
async function guarded(server, port, path) {
  const front = createServer((asked, answer) => {
    if (asked.headers.authorization !== `Bearer ${PAT}`) {
      answer.writeHead(401, { 'www-authenticate': 'Bearer' }).end('no');
      return;
    }
    const { authorization, ...headers } = asked.headers;
    passOn(asked, answer, `http://127.0.0.1:${port}`, headers);
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  return {
    url: `http://127.0.0.1:${front.address().port}${path}`,
    async stop() {
      front.closeAllConnections();
      front.close();
      await server.stop();
    },
  };
}

/** server-everything, over `streamableHttp` or `sse`. */
export async function everything(transport = 'streamableHttp') {
  const port = await freePort();
  const script = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');
  const server = await start(process.execPath, [script, transport], { PORT: String(port) }, /listening|port/i);
  return guarded(server, port, transport === 'sse' ? '/sse' : '/mcp');
}

/** A server with the Python SDK, over `streamable-http` or `sse`. */
export async function python(transport, file = 'python_server.py') {
  const port = await freePort();
  const script = fileURLToPath(new URL(`../${file}`, import.meta.url));
  const server = await start(process.env.PYTHON ?? 'python3', [script, transport, String(port)], {}, /running on/i);
  return guarded(server, port, transport === 'sse' ? '/sse' : '/mcp');
}
