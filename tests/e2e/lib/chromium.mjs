// A real browser that records every error, every violation of a policy, and every request that leaves this machine.
import { chromium } from 'playwright-core';

export async function launch(defer, options = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  defer(() => browser.close());
  const context = await browser.newContext(options);
  const problems = [];
  const watch = (page) => {
    page.on('pageerror', (error) => problems.push(`error: ${error}`));
    page.on('console', (message) => {
      // The browser logs refusals (403, 429) as loading errors; those are expected.
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) problems.push(message.text());
    });
    page.on('request', (request) => {
      const { protocol, hostname } = new URL(request.url());
      if (/^https?:$/.test(protocol) && hostname !== '127.0.0.1') problems.push(`request: ${request.url()}`);
    });
  };
  context.on('page', watch);
  return { browser, context, page: await context.newPage(), problems };
}
