// The clients of the matrix that are installed here, on both hosts (clients/run runs all of them).
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const child = spawn(fileURLToPath(new URL('clients/run', import.meta.url)), ['--short'], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => process.exit(code ?? 1));
