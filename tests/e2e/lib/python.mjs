// Runs python_client.py, which speaks for itself, and counts what it says.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { check } from './check.mjs';

export async function pythonClient(name, server) {
  const script = fileURLToPath(new URL('../python_client.py', import.meta.url));
  const child = spawn(process.env.PYTHON ?? 'python3', [script, server.url, server.pin], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk) => { output += chunk; });
  const [code] = await once(child, 'exit');
  for (const line of output.trim().split('\n')) {
    const [, held, what] = line.match(/^(ok|FAIL) (.*)$/) ?? [null, 'FAIL', line];
    check(`${name}: ${what}`, held === 'ok');
  }
  check(`${name}: runs to its end`, code === 0);
}
