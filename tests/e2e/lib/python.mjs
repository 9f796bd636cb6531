// Runs python_client.py, counts the checks that it prints, and restarts the server when it asks for that.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { check } from './check.mjs';

export async function pythonClient(name, server, defer = () => {}) {
  const script = fileURLToPath(new URL('../python_client.py', import.meta.url));
  const child = spawn(process.env.PYTHON ?? 'python3', [script, server.url, server.pin], { stdio: ['pipe', 'pipe', 'inherit'] });
  defer(() => child.kill());
  const ended = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'restart') {
      await server.restart();
      child.stdin.write('restarted\n');
      continue;
    }
    const [, held, what] = line.match(/^(ok|FAIL) (.*)$/) ?? [null, 'FAIL', line];
    check(`${name}: ${what}`, held === 'ok');
  }
  const [code] = await ended;
  check(`${name}: runs to its end`, code === 0);
}
