// Makes the pictures in docs/images from the running program: `node tests/e2e/pictures.mjs`.
import { fileURLToPath } from 'node:url';
import { check, run } from './lib/check.mjs';
import { launch } from './lib/chromium.mjs';
import { PAT, proxy } from './lib/processes.mjs';

const IMAGES = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
// Clients whose documents are part of the program, so that nothing is fetched.
const CLAUDE = ['https://claude.ai/oauth/mcp-oauth-client-metadata', 'https://claude.ai/api/mcp/auth_callback'];
const CLAUDE_CODE = ['https://claude.ai/oauth/claude-code-client-metadata', 'http://localhost:8765/callback'];

class Owner {
  constructor(program, page) {
    this.base = new URL(program.url).origin;
    this.pin = program.pin;
    this.page = page;
  }

  async open([client_id, redirect_uri]) {
    await this.page.goto(`${this.base}/authorize?${new URLSearchParams({
      client_id, redirect_uri, response_type: 'code', state: 's', code_challenge: CHALLENGE, code_challenge_method: 'S256',
    })}`);
  }

  /** Connects a client under a name, and returns its access token. */
  async connect(client, name, readOnly = false) {
    const [client_id, redirect_uri] = client;
    await this.open(client);
    // The form's fields without the browser, which would follow the redirect to the client.
    const form = {
      page: await this.page.inputValue('input[name=page]'), name, limit: readOnly ? 'read_only' : 'everything', pin: this.pin,
      decision: 'authorize',
    };
    const sent = await this.page.context().request.post(`${this.base}/authorize`, { form, maxRedirects: 0 });
    const code = new URL(sent.headers().location).searchParams.get('code');
    const answer = await fetch(`${this.base}/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'authorization_code', client_id, redirect_uri, code, code_verifier: VERIFIER }),
    });
    return (await answer.json()).access_token;
  }

  async call(token, name, args) {
    const post = (message, session) => fetch(`${this.base}/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream',
        ...(session && { 'mcp-session-id': session }),
      },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    });
    const clientInfo = { name: 'pictures', version: '1' };
    const begun = await post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo } });
    const session = begun.headers.get('mcp-session-id');
    await begun.text();
    await (await post({ method: 'notifications/initialized' }, session)).text();
    await (await post({ id: 2, method: 'tools/call', params: { name, arguments: args } }, session)).text();
  }

  async signIn() {
    await this.page.goto(`${this.base}/connections`);
    await this.page.locator('#pin').fill(this.pin);
    await this.page.keyboard.press('Enter');
    await this.page.waitForSelector('h1:has-text("Connections to")');
  }

  /** The card of the page, with a margin. */
  async picture(name) {
    await this.page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); });
    const { x, y, width, height } = await this.page.locator('main').boundingBox();
    const clip = { x: x - 16, y: y - 16, width: width + 32, height: Math.min(height + 32, 1400) };
    await this.page.screenshot({ path: `${IMAGES}${name}.png`, clip, fullPage: true });
    check(`docs/images/${name}.png`, height > 200, `${Math.round(width)} × ${Math.round(height)}`);
  }
}

await run('pictures', async (defer) => {
  const { page } = await launch(defer, { viewport: { width: 760, height: 900 }, colorScheme: 'light', locale: 'en-GB' });
  const ended = async (program, pictures) => {
    defer(() => program.stop());
    await pictures(new Owner(program, page));
  };

  // Nothing is sent to GitHub for these two.
  await ended(await proxy(['serve', '--state', 'memory'], { UPSTREAM_TOKEN: PAT }), async (owner) => {
    await owner.connect(CLAUDE, 'Claude');
    await owner.connect(CLAUDE_CODE, 'Claude Code on the laptop', true);
    await owner.open(CLAUDE);
    await owner.picture('consent');
    await owner.signIn();
    await page.click('text=Create a token');
    await page.getByLabel('Name', { exact: true }).fill('Backup script');
    await page.getByLabel('Valid for').selectOption('90');
    await page.locator('#pin').fill(owner.pin);
    await page.click('button[value=create-token]');
    await owner.picture('token');
    await page.goto(`${owner.base}/connections`);
    await owner.picture('connections');
    await page.goto(owner.base);
    await owner.picture('landing');
  });

  await ended(await proxy(['demo']), async (owner) => {
    const token = await owner.connect(CLAUDE_CODE, 'Claude Code on the laptop');
    await owner.call(token, 'echo', { text: 'hello' });
    await owner.call(token, 'add', { a: 1, b: 2 });
    await owner.signIn();
    await page.click('text=Claude Code on the laptop');
    await page.getByRole('radio', { name: /Read only/ }).check();
    await page.click('button[value=limit]');
    await owner.call(token, 'fail', {});
    await page.reload();
    await owner.picture('connection');
    await page.click('text=Choose tools');
    await owner.picture('tools');
  });
});
