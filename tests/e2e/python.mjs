// The Python SDK, with its own OAuth code: starts the servers, then python_client.py, which speaks for itself.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check, run } from './lib/check.mjs';
import { everything, PAT, proxy } from './lib/processes.mjs';

await run('python', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const directory = mkdtempSync(join(tmpdir(), 'e2e-'));
  defer(() => rmSync(directory, { recursive: true }));
  const server = await proxy(['serve', '--state', join(directory, 'state.db')], { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT });
  defer(() => server.stop());
  const script = fileURLToPath(new URL('python_client.py', import.meta.url));
  const child = spawn(process.env.PYTHON ?? 'python3', [script, server.url, server.pin], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk) => { output += chunk; });
  const [code] = await once(child, 'exit');
  for (const line of output.trim().split('\n')) {
    const [, held, name] = line.match(/^(ok|FAIL) (.*)$/) ?? [null, 'FAIL', line];
    check(name, held === 'ok');
  }
  check('python_client.py runs to its end', code === 0);
});
