// The Python SDK, with its own OAuth code, with `serve` in front of server-everything.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { equal, run } from './lib/check.mjs';
import { everything, PAT, proxy } from './lib/processes.mjs';
import { pythonClient } from './lib/python.mjs';

await run('python', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const directory = mkdtempSync(join(tmpdir(), 'e2e-'));
  defer(() => rmSync(directory, { recursive: true }));
  const start = (port) => proxy(['serve', '--state', join(directory, 'state.db')],
    { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, AUTH_PIN: 'e2ePIN2345' }, port);
  let running = await start();
  defer(() => running.stop());
  await pythonClient('Python SDK', {
    url: running.url,
    pin: running.pin,
    async restart() {
      equal('Python SDK: the proxy stops when asked to', await running.stop(), 0);
      running = await start(running.port);
    },
  }, defer);
});
