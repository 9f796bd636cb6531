#!/usr/bin/env node
// Measures how much time the Lambda host adds to a call, and when it first polls: two builds of examples/function.rs in turns,
// with a Runtime API on loopback.
//
//     benches/runtime_api.mjs OLD NEW [calls]
//
// A call is a tools/call through a Function URL to an upstream on loopback that responds immediately. Calls run one after the
// other on one instance, and then on each of eight. The first poll is measured from the start of the process, with an upstream
// that accepts connections and never sends anything. Everything runs on one machine: compare only the two columns.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import { createServer as createListener } from 'node:net';
import { accessToken } from '../tests/e2e/lib/connected.mjs';
import { lambda } from '../tests/e2e/lib/function.mjs';

const ROUNDS = 5;
const STARTS = 9;
const WARM_UP_CALLS = 30;
const [OLD, NEW, CALLS = '300'] = process.argv.slice(2);
if (NEW === undefined) {
  console.error('usage: benches/runtime_api.mjs OLD NEW [calls]');
  process.exit(2);
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
const sort = (values) => values.sort((a, b) => a - b);

async function listening(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

const upstream = createServer((asked, answer) => {
  asked.resume().on('end', () => answer.writeHead(200, { 'content-type': 'application/json' }).end('{"jsonrpc":"2.0","id":1,"result":{}}'));
});
const upstreamUrl = `http://127.0.0.1:${await listening(upstream)}/mcp`;

function call(url, token, agent) {
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    request(url, { method: 'POST', agent, headers }, (response) => {
      response.resume().on('end', () => resolve(performance.now() - begin)).on('error', reject);
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
    }).on('error', reject).end('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}');
  });
}

/** This many callers, each with its own connection and one call after the other. */
async function calls(side, callers, each) {
  const agent = new Agent({ keepAlive: true, maxSockets: callers });
  const begin = performance.now();
  const times = await Promise.all(Array.from({ length: callers }, async () => {
    const own = [];
    while (own.length < each) own.push(await call(side.server.url, side.token, agent));
    return own;
  }));
  agent.destroy();
  return { times: times.flat(), seconds: (performance.now() - begin) / 1000 };
}

/** From the start of the process to its first poll, in milliseconds. */
async function firstPoll(binary, upstreamMcp, table) {
  let polled;
  const first = new Promise((resolve) => { polled = resolve; });
  const api = createServer(() => polled(performance.now()));
  const port = await listening(api);
  const begin = performance.now();
  const child = spawn(binary, ['serve', table], {
    stdio: 'ignore',
    env: { UPSTREAM_MCP: upstreamMcp, UPSTREAM_TOKEN: 't', AUTH_PIN: 'e2ePIN2345', BASE_URL: 'http://127.0.0.1:1',
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`, AWS_LAMBDA_FUNCTION_NAME: 'bench', AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
      AWS_LAMBDA_FUNCTION_VERSION: '1' },
  });
  const took = await first - begin;
  child.kill('SIGKILL');
  api.closeAllConnections();
  api.close();
  return took;
}

function row(name, [before, after]) {
  const number = (value) => value.toFixed(2).padStart(12);
  console.log(`${name.padEnd(34)}${number(before)}${number(after)}${number(before / after)}`);
}

const sides = [];
// An older build may send empty bodies, and for both the cost of stopping and continuing a process is left out.
const options = { freeze: false, endEmptyBodies: true };
for (const binary of [OLD, NEW]) {
  const server = await lambda({ UPSTREAM_MCP: upstreamUrl, UPSTREAM_TOKEN: 't', RUST_LOG: 'error' }, { ...options, command: [binary] });
  sides.push({ binary, server, token: await accessToken(server.url, server.pin) });
}

console.log(`${''.padEnd(34)}${'old'.padStart(12)}${'new'.padStart(12)}${'old/new'.padStart(12)}`);
for (const callers of [1, 8]) {
  const figures = sides.map(() => ({ times: [], seconds: 0 }));
  for (const side of sides) await calls(side, callers, WARM_UP_CALLS);
  // In turns, so that other load on the machine affects both.
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [at, side] of sides.entries()) {
      const { times, seconds } = await calls(side, callers, Math.ceil(Number(CALLS) / ROUNDS / callers));
      figures[at].times.push(...times);
      figures[at].seconds += seconds;
    }
  }
  figures.forEach(({ times }) => sort(times));
  const instances = `${callers} instance${callers === 1 ? '' : 's'}`;
  row(`${instances}: ms a call, median`, figures.map(({ times }) => quantile(times, 0.5)));
  row(`${instances}: ms a call, p99`, figures.map(({ times }) => quantile(times, 0.99)));
  row(`${instances}: ms a call, mean`, figures.map(({ times }) => times.reduce((a, b) => a + b) / times.length));
  row(`${instances}: calls a second`, figures.map(({ times, seconds }) => times.length / seconds));
}

const silent = createListener((socket) => socket.on('error', () => {}));
const silentUrl = `http://127.0.0.1:${await listening(silent)}/mcp`;
const table = spawn(NEW, ['table'], { stdio: ['ignore', 'pipe', 'inherit'] });
const tableUrl = String((await once(table.stdout, 'data'))[0]).trim();
for (const [name, url] of [['responding', upstreamUrl], ['silent', silentUrl]]) {
  const polls = [[], []];
  for (let start = 0; start < STARTS; start += 1) {
    for (const [at, binary] of [OLD, NEW].entries()) polls[at].push(await firstPoll(binary, url, tableUrl));
  }
  row(`first poll, ${name} upstream: ms`, polls.map((times) => quantile(sort(times), 0.5)));
}
table.kill('SIGKILL');
await Promise.all(sides.map(({ server }) => server.stop()));
process.exit(0);
