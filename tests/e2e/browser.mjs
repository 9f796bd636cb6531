// What the person does, in a real browser, with the demo.
import { run } from './lib/check.mjs';
import { consentInBrowser } from './lib/consent.mjs';
import { proxy } from './lib/processes.mjs';

await run('browser', async (defer) => {
  const demo = await proxy(['demo']);
  defer(() => demo.stop());
  await consentInBrowser('', demo, 5, defer);
});
