// The person's part in a real browser, against the demo.
import { run } from './lib/check.mjs';
import { consentInBrowser } from './lib/consent.mjs';
import { proxy } from './lib/processes.mjs';

await run('browser', async (defer) => {
  const demo = await proxy(['demo']);
  defer(() => demo.stop());
  await consentInBrowser('', demo, 5, defer);
});
