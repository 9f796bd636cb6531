// The Python SDK, with its own OAuth code, against `serve` before server-everything.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './lib/check.mjs';
import { everything, PAT, proxy } from './lib/processes.mjs';
import { pythonClient } from './lib/python.mjs';

await run('python', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const directory = mkdtempSync(join(tmpdir(), 'e2e-'));
  defer(() => rmSync(directory, { recursive: true }));
  const server = await proxy(['serve', '--state', join(directory, 'state.db')], { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT });
  defer(() => server.stop());
  await pythonClient('Python SDK', server);
});
