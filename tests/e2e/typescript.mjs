// The TypeScript SDKs, version 1 and 2, each with its own OAuth code, with `serve` in front of server-everything.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { equal, run } from './lib/check.mjs';
import { journey, SDKS } from './lib/journey.mjs';
import { everything, PAT, proxy } from './lib/processes.mjs';

await run('typescript', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  for (const [name, sdk] of Object.entries(SDKS)) {
    const directory = mkdtempSync(join(tmpdir(), 'e2e-'));
    defer(() => rmSync(directory, { recursive: true }));
    const start = (port) => proxy(['serve', '--state', join(directory, 'state.db')],
      { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, AUTH_PIN: 'e2ePIN2345' }, port);
    let running = await start();
    defer(() => running.stop());
    await journey(name, sdk, {
      url: running.url,
      pin: running.pin,
      output: () => running.output(),
      async restart() {
        equal(`${name}: the proxy stops when asked to`, await running.stop(), 0);
        running = await start(running.port);
      },
    });
  }
});
