// Mixed traffic with faults, through the local host and through the Lambda host (whose instances are frozen between requests):
// every call gets the response of its fault and no other, and memory stays flat. Both run at the same time. SOAK_SECONDS=1800
// for a long run.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { attempt, check, equal, run } from './lib/check.mjs';
import { connected, refreshed } from './lib/connected.mjs';
import { faulty } from './lib/faulty.mjs';
import { lambda } from './lib/function.mjs';
import { PAT, proxy } from './lib/processes.mjs';

const SECONDS = Number(process.env.SOAK_SECONDS ?? 120);
const CLIENTS = 6;
const PAUSE_MS = 20;
const FREEZES = 100;
/** A client that gives up waits this long. */
const PATIENCE_MS = 150;
/** Refreshes are rare: one in so many requests. */
const REFRESH_EVERY = 50;
/** A program is stopped under full load so often, with so many connections. */
const STOPS = 10;
const CONNECTIONS = 64;
/** What buffers and allocators may take in addition after a third of the time. */
const MEMORY_SLACK_KB = 8192;
/** A call is recorded in the table, which is in the memory of the local host here. */
const RECORDED_CALL_KB = 0.6;

/** Each kind of call, and whether what came back is right for it. */
const EXPECTED = {
  ok: (got) => got.status === 200 && got.text.includes(`"id":${got.id}`),
  slow: (got) => got.status === 200 && got.text.includes(`"id":${got.id}`),
  events: (got) => got.status === 200 && got.text.includes(`"id":${got.id}`) && got.text.includes('"progress":2'),
  reset: (got) => got.status === 502 && got.text.includes('cannot be reached'),
  // A reset may overtake the part that was sent.
  cut: (got) => got.broken || EXPECTED.reset(got),
  busy: (got) => got.status === 503 && got.retryAfter === '1',
  refused: (got) => got.status === 200 && got.text.includes('no licence'),
  hang: (got) => got.aborted,
};
const KINDS = Object.keys(EXPECTED);

let ids = 0;

async function call(server, access, kind) {
  ids += 1;
  const got = { id: ids };
  try {
    const response = await fetch(server.url, {
      method: 'POST',
      headers: { authorization: `Bearer ${access}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', id: ids, method: 'tools/call', params: { name: kind, arguments: {} } }),
      signal: kind === 'hang' ? AbortSignal.timeout(PATIENCE_MS) : undefined,
    });
    got.status = response.status;
    got.retryAfter = response.headers.get('retry-after');
    got.text = await response.text();
  } catch (error) {
    got[error.name === 'TimeoutError' ? 'aborted' : 'broken'] = true;
    got.error = String(error.cause ?? error);
  }
  return got;
}

async function client(server, upstream, tokens, until, kinds, tally) {
  for (let number = 1; Date.now() < until; number += 1) {
    if (number % REFRESH_EVERY === 0) {
      const next = await refreshed(server.url, tokens);
      tally.refreshes += 1;
      if (typeof next === 'number') tally.wrong.push(`refresh: ${next}`);
      else tokens = next;
    }
    const kind = kinds[Math.floor(Math.random() * kinds.length)];
    const got = await call(server, tokens.access_token, kind);
    tally.calls[kind] = (tally.calls[kind] ?? 0) + 1;
    // The upstream closed the connection while the call was on its way to it. The proxy cannot know that it did not arrive,
    // and a call that may have acted is not repeated.
    if (EXPECTED.reset(got) && !upstream.saw(got.id)) tally.crossed += 1;
    else if (!EXPECTED[kind](got)) tally.wrong.push(`${kind}: ${JSON.stringify(got)}`);
    await sleep(PAUSE_MS);
  }
}

const rssKb = (pids) => Math.max(...pids.map((pid) => {
  try {
    return Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m)[1]);
  } catch {
    return 0; // It has ended.
  }
}));

async function soak(name, server, upstream, pids, kinds, callKb) {
  const tally = { calls: {}, refreshes: 0, crossed: 0, wrong: [] };
  // One after the other: of two PINs at the same time one has to wait.
  const tokens = [];
  for (let number = 0; number < CLIENTS; number += 1) tokens.push(await connected(server.url, server.pin));
  const began = Date.now();
  const until = began + SECONDS * 1000;
  const idle = setInterval(() => upstream.closeIdle(), 700);
  const clients = Promise.all(tokens.map((own) => client(server, upstream, own, until, kinds, tally)));
  await sleep(SECONDS * 1000 / 3);
  const warm = rssKb(pids());
  await clients;
  const end = rssKb(pids());
  clearInterval(idle);
  const calls = Object.values(tally.calls).reduce((a, b) => a + b, 0);
  console.log(`${name}: ${calls} calls, ${tally.refreshes} refreshes, ${tally.crossed} crossed the closing of a connection, in ${Math.round((Date.now() - began) / 1000)} s: ${JSON.stringify(tally.calls)}`);
  equal(`${name}: every call got the response of its fault`, [tally.wrong.length, tally.wrong.slice(0, 5)], [0, []]);
  check(`${name}: every kind of fault occurred`, kinds.every((kind) => tally.calls[kind] > 0));
  check(`${name}: memory is flat`, warm > 0 && end < warm + MEMORY_SLACK_KB + calls * callKb, `${warm} KB after a third, ${end} KB at the end`);
  await sleep(500);
  equal(`${name}: no call of the upstream is left`, upstream.open(), 0);
}

/** The upstream closes its connections while the program is stopped. */
async function freezes(server, upstream) {
  const { access_token: access } = await connected(server.url, server.pin);
  let succeeded = 0;
  for (let freeze = 0; freeze < FREEZES; freeze += 1) {
    await call(server, access, 'ok');
    process.kill(server.pid, 'SIGSTOP');
    upstream.closeIdle();
    await sleep(5);
    process.kill(server.pid, 'SIGCONT');
    succeeded += EXPECTED.ok(await call(server, access, 'ok'));
  }
  equal(`local: calls after a freeze that succeeded, of ${FREEZES}`, succeeded, FREEZES);
}

async function stops(server) {
  const { access_token: access } = await connected(server.url, server.pin);
  const calls = Array.from({ length: 20 }, (_, number) => call(server, access, number % 2 ? 'slow' : 'events'));
  await sleep(100);
  const [code, ...got] = await Promise.all([server.stop(), ...calls]);
  equal('local: calls under way at SIGTERM that succeeded', got.filter((one) => one.status === 200).length, 20);
  equal('local: exit code', code, 0);
}

/** One call: its status, or `refused` if there was no connection, or `lost`. */
function loadCall(url, access, agent) {
  return new Promise((resolve) => {
    const id = ids += 1;
    let isConnected = false;
    const asked = request(url, {
      agent, method: 'POST', headers: { authorization: `Bearer ${access}`, 'content-type': 'application/json', accept: 'application/json' },
    }, (answer) => {
      answer.resume().on('end', () => resolve({ id, status: answer.statusCode })).on('error', () => resolve({ id, lost: 'in the response' }));
    });
    asked.on('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => { isConnected = true; });
      else isConnected = true;
    });
    asked.on('error', (error) => resolve(isConnected ? { id, lost: error.code } : { id, refused: error.code }));
    asked.end(JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'ok', arguments: {} } }));
  });
}

/** SIGTERM while all connections, half of them new for each call, are busy all the time. */
async function stopsUnderLoad(upstream, env) {
  const tally = { succeeded: 0, refused: 0, closedUnread: 0, wrong: [] };
  for (let round = 0; round < STOPS; round += 1) {
    const server = await proxy(['serve', '--state', 'memory'], env);
    const { access_token: access } = await connected(server.url, server.pin);
    const agent = new Agent({ keepAlive: true });
    const busy = Promise.all(Array.from({ length: CONNECTIONS }, async (_, number) => {
      for (;;) {
        const got = await loadCall(server.url, access, number % 2 ? agent : false);
        if (got.status === 200) tally.succeeded += 1;
        else if (got.refused) { tally.refused += 1; return; }
        // Whoever sees this may repeat the call, because nobody has read it.
        else if (got.lost && !upstream.saw(got.id)) { tally.closedUnread += 1; return; }
        else { tally.wrong.push(got); return; }
      }
    }));
    await sleep(500 + Math.random() * 100);
    const [code] = await Promise.all([server.stop(), busy]);
    if (code !== 0) tally.wrong.push(`exit code ${code}`);
    agent.destroy();
  }
  console.log(`stops: ${tally.succeeded} calls succeeded, ${tally.closedUnread} connections were closed before a call on them was read`);
  equal('local: calls that were accepted under load and lost at SIGTERM', tally.wrong, []);
  // One may still connect at the very end, or be slower than the grace.
  check('local: at SIGTERM hardly a connection was closed before the call on it was read', tally.closedUnread <= STOPS * CONNECTIONS / 100, tally.closedUnread);
  equal('local: each client went on until then', tally.refused + tally.closedUnread, STOPS * CONNECTIONS);
}

/** Fills the server with idle connections. Returns what closes them. */
async function idlers(port, count) {
  const began = Date.now();
  const sockets = [];
  while (sockets.length < count && Date.now() - began < 30_000) {
    const more = Array.from({ length: 20 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    sockets.push(...more);
    await Promise.race([sleep(10_000), Promise.all(more.map((socket) => {
      socket.write(`GET /none HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
      return once(socket, 'data');
    }))]);
  }
  return () => sockets.forEach((socket) => socket.destroy());
}

/** More idle connections than there may be, or than the program may have files open: the next client is served all the same. */
async function crowd(env, openFiles, idle) {
  const server = await proxy(['serve', '--state', 'memory'], env, undefined, openFiles);
  const { access_token: access } = await connected(server.url, server.pin);
  const leave = await idlers(server.port, idle);
  const called = Date.now();
  const calls = await Promise.all(Array.from({ length: 10 }, () => loadCall(server.url, access, false)));
  const what = `local: calls beside ${idle} idle connections, with ulimit ${openFiles}, that succeeded`;
  equal(what, calls.filter(({ status }) => status === 200).length, calls.length);
  check(`${what} within 5 s`, Date.now() - called < 5000, `${Date.now() - called} ms`);
  leave();
  await server.stop();
}

/** The system lets the program open fewer files than when it started, as if others had them all: some calls may fail, but each succeeds later. */
async function filesRunOut(env) {
  const server = await proxy(['serve', '--state', 'memory'], env);
  const { access_token: access } = await connected(server.url, server.pin);
  execFileSync('prlimit', ['--pid', server.pid, '--nofile=256:256']);
  const leave = await idlers(server.port, 300);
  const tries = await Promise.all(Array.from({ length: 10 }, async () => {
    for (let tried = 1; ; tried += 1) {
      const { status } = await loadCall(server.url, access, false);
      if (status === 200 || tried === 5) return status;
    }
  }));
  equal('local: calls that succeeded in the end when no more files could be opened', tries, tries.map(() => 200));
  check('local: the log says that no more files can be opened', server.output().includes('no connection can be accepted'));
  leave();
  await server.stop();
}

await run('soak', async (defer) => {
  const hosts = ['local', 'Lambda'].map((name) => attempt(name, async () => {
    const upstream = await faulty();
    defer(() => upstream.stop());
    const env = { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT };
    if (name === 'local') {
      const server = await proxy(['serve', '--state', 'memory'], env);
      defer(() => server.stop());
      await freezes(server, upstream);
      await soak(name, server, upstream, () => [server.pid], KINDS, RECORDED_CALL_KB);
      await stops(server);
      await stopsUnderLoad(upstream, env);
      await crowd(env, '-n 4096', 1100);
      await crowd(env, '-n 256', 300);
      // As on macOS: the program may raise it.
      await crowd(env, '-S -n 256', 300);
      await filesRunOut(env);
    } else {
      const server = await lambda(env);
      defer(() => server.stop());
      // A Function URL does not tell the function that the client has gone: an instance would wait for this upstream.
      await soak(name, server, upstream, server.processes, KINDS.filter((kind) => kind !== 'hang'), 0);
      equal('Lambda: nothing that AWS punishes', [...new Set(server.faults())], []);
    }
  }));
  await Promise.all(hosts);
});
