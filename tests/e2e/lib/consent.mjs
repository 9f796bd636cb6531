// What the person does, in a real browser: wrong PIN, right PIN, with mouse and keyboard, and the redirect to the client.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { check, equal } from './check.mjs';
import { launch } from './chromium.mjs';
import { Provider } from './provider.mjs';

/** A client's callback on this machine. */
async function callback() {
  const server = createServer((request, response) => response.end('<title>Back in the client</title>'))
    .listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}/callback`, stop: () => server.close() };
}

class InBrowser extends Provider {
  constructor(pin, url, open) {
    super(pin);
    this.url = url;
    this.open = open;
  }

  get redirectUrl() { return this.url; }
  get clientMetadata() { return { ...super.clientMetadata, redirect_uris: [this.url] }; }
  async redirectToAuthorization(url) { this.landed = await this.open(url.href); }
}

/** Connects twice to a server that has this many tools. */
export async function consentInBrowser(name, server, expectedTools, defer) {
  const back = await callback();
  defer(() => back.stop());
  const { page, problems } = await launch(defer);

  async function connect(open) {
    const provider = new InBrowser(server.pin, back.url, open);
    const transport = () => new StreamableHTTPClientTransport(new URL(server.url), { authProvider: provider });
    const client = new Client({ name: 'e2e', version: '1' });
    const first = transport();
    await client.connect(first).catch(() => first.finishAuth(provider.landed.searchParams.get('code')));
    await client.connect(transport());
    const { tools } = await client.listTools();
    await client.close();
    return tools.length;
  }

  const pin = () => page.locator('input[name=pin]');
  const tools = await connect(async (url) => {
    await page.goto(url);
    check(`${name}the page names the client and says that the name is unproven`,
      /End-to-end test/.test(await page.textContent('body')) && /not verified|unverified/i.test(await page.textContent('body')));
    await pin().fill('wrongPIN9');
    await page.click('button[value=authorize]');
    check(`${name}a wrong PIN is said aloud`, await page.locator('[role=alert]').isVisible());
    check(`${name}and the field has the focus again`, await pin().evaluate((field) => field === document.activeElement));
    equal(`${name}and is empty`, await pin().inputValue(), '');
    await pin().fill(server.pin);
    await page.click('button[value=authorize]');
    await page.waitForURL(/\/callback\?/);
    return new URL(page.url());
  });
  equal(`${name}by mouse: connected`, tools, expectedTools);

  equal(`${name}by keyboard alone: connected`, await connect(async (url) => {
    await page.goto(url);
    for (let steps = 0; steps < 20 && !(await pin().evaluate((field) => field === document.activeElement)); steps += 1) {
      await page.keyboard.press('Tab');
    }
    await page.keyboard.type(server.pin);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/callback\?/);
    return new URL(page.url());
  }), expectedTools);
  equal(`${name}no script error, no violated policy, no foreign request`, problems, []);
}
