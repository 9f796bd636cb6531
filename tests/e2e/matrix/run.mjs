// Runs clients through all steps on both hosts, and stores what was seen for the table. Started by ../clients/run.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { attempt, check, equal, run } from '../lib/check.mjs';
import { lambda } from '../lib/function.mjs';
import { everything, PAT, proxy } from '../lib/processes.mjs';
import { front } from './front.mjs';
import { CLIENTS, reason } from './list.mjs';
import { takeSteps } from './steps.mjs';
import { writePage } from './page.mjs';

const FOLDER = process.env.CLIENTS_FOLDER;
const RESULTS = join(FOLDER, 'results.json');
const CERTIFICATE = join(FOLDER, 'tls/cert.pem');
const PIN = 'e2ePIN2345';
const TLS = { key: readFileSync(join(FOLDER, 'tls/key.pem')), cert: readFileSync(CERTIFICATE) };
const script = (file) => fileURLToPath(new URL(`../clients/${file}`, import.meta.url));

const python = ({ environment }) => join(FOLDER, environment, 'bin/python');

function version(client) {
  const [name] = client.packages;
  if (client.file.endsWith('.py')) {
    const code = 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))';
    return spawnSync(python(client), ['-c', code, name], { encoding: 'utf8' }).stdout.trim();
  }
  const places = createRequire(client.pinned ? import.meta.url : script(client.file)).resolve.paths(name);
  const manifest = places.map((place) => join(place, name, 'package.json')).find(existsSync);
  return manifest ? JSON.parse(readFileSync(manifest, 'utf8')).version : 'not installed';
}

const HOSTS = {
  async direct(upstream, base, defer) {
    const directory = mkdtempSync(join(tmpdir(), 'e2e-'));
    defer(() => rmSync(directory, { recursive: true }));
    const env = { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, AUTH_PIN: PIN, BASE_URL: base };
    const start = (port) => proxy(['serve', '--state', join(directory, 'state.db')], env, port);
    let running = await start();
    defer(() => running.stop());
    return {
      pin: PIN,
      get origin() { return `http://127.0.0.1:${running.port}`; },
      output: () => running.output(),
      async restart() {
        await running.stop();
        running = await start(running.port);
      },
      faults: () => [],
    };
  },
  async 'Function URL'(upstream, base, defer) {
    const server = await lambda({ UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, BASE_URL: base });
    defer(() => server.stop());
    return server;
  },
};

/** One client on one host. */
async function one(client, host, upstream) {
  const cleanups = [];
  const defer = (cleanup) => cleanups.push(cleanup);
  const name = `${client.name}, ${host}`;
  const row = { version: version(client), date: new Date().toISOString().slice(0, 10), steps: {} };
  try {
    const listener = await front(client.https ? TLS : undefined);
    defer(() => listener.stop());
    const server = await HOSTS[host](upstream, listener.origin, defer);
    listener.to = server.origin;
    const command = [client.file.endsWith('.py') ? python(client) : process.execPath, script(client.file)];
    const environment = {
      NODE_EXTRA_CA_CERTS: CERTIFICATE, SSL_CERT_FILE: CERTIFICATE, REQUESTS_CA_BUNDLE: CERTIFICATE, CLIENTS_FOLDER: FOLDER,
      LANG: 'C.UTF-8', TERM: 'xterm-256color',
    };
    await takeSteps({ ...client, command }, server, listener, environment, (step, held, detail) => {
      const known = reason(client, step, host);
      row.steps[step] = held;
      if (known) check(`${name}: ${step}: as the table says, ${known}`, !held, detail);
      else check(`${name}: ${step}`, held, detail);
    });
    equal(`${name}: nothing that AWS punishes`, [...new Set(server.faults())], []);
    const secrets = [PAT, PIN, listener.tokens?.access_token, listener.tokens?.refresh_token].filter(Boolean);
    check(`${name}: nothing secret in the log`, secrets.every((secret) => !server.output().includes(secret)));
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
  return row;
}

await run('clients', async (defer) => {
  const names = process.argv.slice(2);
  const wanted = CLIENTS.filter(({ file, short }) =>
    (names.includes('--short') ? short : names.length === 0 || names.some((name) => file.startsWith(`${name}.`))));
  check('there are clients to run', wanted.length > 0, wanted.length);
  const upstream = await everything();
  defer(() => upstream.stop());
  for (const client of wanted) {
    const rows = {};
    for (const host of Object.keys(HOSTS)) {
      await attempt(`${client.name}, ${host}`, async () => { rows[host] = await one(client, host, upstream); });
    }
    if (names.includes('--short')) continue;
    // Read only now: several runs can share the file.
    const results = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : {};
    results[client.file] = rows;
    writeFileSync(RESULTS, JSON.stringify(results, null, 1));
    writePage(results);
  }
});
