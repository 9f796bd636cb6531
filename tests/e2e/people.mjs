// What people do with the pages, in a real browser, with the demo: deny, submit twice, go back, open two tabs, come too late,
// switch cookies off, guess PINs, reload, copy the address; name connections, limit them, choose their tools, create a token,
// end several connections and all of them.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { check, equal, run } from './lib/check.mjs';
import { launch } from './lib/chromium.mjs';
import { proxy } from './lib/processes.mjs';

const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';

/** A site on loopback whose response is always this page. */
async function site(html, defer) {
  const server = createServer((request, response) => response.setHeader('content-type', 'text/html').end(html(request)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

class Visit {
  constructor(demo, page) {
    this.base = new URL(demo.url).origin;
    this.secret = demo.pin;
    this.page = page;
  }

  async register(metadata) {
    const answer = await fetch(`${this.base}/register`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(metadata),
    });
    return (await answer.json()).client_id;
  }

  consent(client_id, redirect_uri) {
    return `${this.base}/authorize?${new URLSearchParams({
      client_id, redirect_uri, response_type: 'code', state: 's-1', code_challenge: CHALLENGE, code_challenge_method: 'S256',
    })}`;
  }

  async redeem(client_id, redirect_uri, code) {
    const answer = await fetch(`${this.base}/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'authorization_code', client_id, redirect_uri, code, code_verifier: VERIFIER }),
    });
    return answer.status;
  }

  pin(page = this.page) { return page.locator('input[name=pin]'); }
  text(page = this.page) { return page.textContent('main'); }
  code() { return new URL(this.page.url()).searchParams.get('code'); }

  async answer(decision, page = this.page) {
    if (decision === 'authorize') await this.pin(page).fill(this.secret);
    await page.click(`button[value=${decision}]`);
  }
}

/** The first connection gets a name. */
async function named({ page }) {
  await page.locator('.rows h2 a').first().click();
  await page.getByLabel('Name', { exact: true }).fill('Laptop <b>');
  await page.click('text=Save name');
  await page.waitForSelector('[role=status]:has-text("The name was changed.")');
  equal('the connection has its new name', await page.textContent('h1'), 'Laptop <b>');
  await page.reload();
  check('reloading does not say it again', await page.locator('[role=status]').count() === 0);
}

/** It may only read, and then use only two tools. */
async function limited({ page, secret }) {
  await page.getByRole('radio', { name: /Read only/ }).check();
  await page.click('button[value=limit]');
  await page.waitForSelector('[role=status]:has-text("Saved.")');
  check('the limit is kept', await page.getByRole('radio', { name: /Read only/ }).isChecked());
  await page.click('text=Choose tools');
  const boxes = page.getByRole('checkbox');
  const all = await boxes.count();
  check('the tools of the server are listed', all >= 3, `${all} tools`);
  const checked = () => boxes.evaluateAll((found) => found.filter((box) => box.checked).length);
  check('those that only read are chosen', await checked() > 0 && await checked() < all, `${await checked()} of ${all}`);
  await page.getByRole('button', { name: 'All', exact: true }).click();
  equal('all', await checked(), all);
  await page.getByRole('button', { name: 'None', exact: true }).click();
  equal('none', await checked(), 0);
  const first = await page.locator('.tools code').first().textContent();
  await page.getByLabel('Find a tool').fill(first);
  check('the search hides the others', await page.locator('.tools li:visible').count() < all);
  await page.locator('.tools li:visible input').first().check();
  await page.getByLabel('Find a tool').fill('');
  // More than reading: the PIN once more.
  await page.click('button[value=tools]');
  await page.waitForSelector('[role=alert]:has-text("Type the PIN.")');
  await page.getByRole('button', { name: 'None', exact: true }).click();
  await page.locator('.tools li').filter({ hasText: first }).locator('input').first().check();
  await page.locator('#pin').fill(secret);
  await page.click('button[value=tools]');
  await page.waitForSelector('[role=status]:has-text("Saved.")');
  check('one tool is chosen', await page.getByRole('radio', { name: 'One chosen tool' }).isChecked());
  await page.click('text=Connections');
}

/** A token is created, used, and not created twice. */
async function tokens({ page, base, secret }, context) {
  await page.click('text=Create a token');
  await page.getByLabel('Name', { exact: true }).fill('Backup script');
  await page.getByLabel('Valid for').selectOption('7');
  await page.getByRole('radio', { name: /Read only/ }).check();
  await page.locator('#pin').fill(secret);
  await page.click('button[value=create-token]');
  await page.waitForSelector('#token');
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: base });
  await page.getByRole('button', { name: 'Copy the token' }).click();
  await page.waitForSelector('text=Copied.');
  const token = await page.evaluate(() => navigator.clipboard.readText());
  const call = () => fetch(`${base}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {
      protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'e2e', version: '1' } } }),
  });
  equal('the token works', (await call()).status, 200);
  check('it is not in the address', !page.url().includes(token));
  await page.reload();
  await page.waitForSelector('[role=status]:has-text("has created its token already")');
  check('reloading creates no second token', (await page.locator('.rows h2:has-text("Backup script")').count()) === 1);
  check('and does not show it again', !(await page.content()).includes(token));
}

/** Two connections, then all. */
async function ended(visit, rows) {
  const { page } = visit;
  const boxes = page.getByRole('checkbox');
  await page.click('text=End selected');
  await page.waitForSelector('text=Select the connections to end first.');
  await boxes.nth(0).check();
  await boxes.nth(1).check();
  await page.click('text=End selected');
  check('ending asks first', /End 2 connections\?/.test(await visit.text()));
  await page.click('text=Keep');
  equal('nothing was ended', await page.locator('.rows > li').count(), rows + 1);
  await boxes.nth(0).check();
  await boxes.nth(1).check();
  await page.click('text=End selected');
  await page.click('button[value=end]');
  await page.waitForSelector('[role=status]:has-text("2 connections were ended.")');
  equal('two fewer after ending two', await page.locator('.rows > li').count(), rows - 1);
  await page.click('text=End all');
  await page.click('main button.end');
  await page.waitForSelector('text=Nothing is connected');
  await page.click('button[value=sign-out]');
  await page.waitForSelector('text=You are signed out.');
  check('signing out asks for the PIN again', await visit.pin().isVisible());
}

await run('people', async (defer) => {
  const demo = await proxy(['demo']);
  defer(() => demo.stop());
  const { browser, context, page, problems } = await launch(defer);
  const visit = new Visit(demo, page);
  const back = `${await site(() => '<title>client</title>', defer)}/callback`;
  const client = await visit.register({ client_name: 'A client', redirect_uris: [back] });
  const consent = visit.consent(client, back);
  const landed = () => page.waitForURL(`${back}?*`);

  await page.goto(consent);
  await visit.answer('deny');
  await landed();
  equal('deny goes back with access_denied', new URL(page.url()).searchParams.get('error'), 'access_denied');

  await page.goto(consent);
  await visit.pin().fill(demo.pin);
  await page.evaluate(() => {
    const button = document.querySelector('button[value=authorize]');
    button.click();
    button.click();
  });
  await landed();
  equal('submitted twice: the code that arrives is good', await visit.redeem(client, back, visit.code()), 200);

  await page.goto(consent);
  await visit.answer('authorize');
  await landed();
  const first = visit.code();
  equal('the first code is redeemed', await visit.redeem(client, back, first), 200);
  await page.goBack();
  check('back shows the consent page again', await visit.pin().isVisible());
  await visit.answer('authorize');
  await Promise.race([landed(), page.waitForSelector('text=/connected/i')]);
  if (page.url().startsWith(back)) {
    equal('and a second connection can be made from there', await visit.redeem(client, back, visit.code()), 200);
  } else {
    check('and it says that the client is connected', /connected/i.test(await visit.text()));
  }

  const other = await context.newPage();
  await page.goto(consent);
  await other.goto(consent);
  await visit.answer('authorize', other);
  await other.waitForURL(`${back}?*`);
  await visit.answer('authorize');
  await landed();
  check('two tabs: both can be answered', visit.code() !== new URL(other.url()).searchParams.get('code'));
  await other.close();

  await page.goto(consent);
  const id = await page.inputValue('input[name=page]');
  await context.request.post(`${visit.base}/authorize`, { form: { page: id, decision: 'deny' }, maxRedirects: 0 });
  await visit.answer('authorize');
  check('a page that was answered elsewhere has expired, and says what to do', /expired/.test(await visit.text()) && /again/.test(await visit.text()));
  check('with a reference', /Reference/.test(await visit.text()));

  await page.goto(consent);
  await context.clearCookies();
  await visit.answer('authorize');
  check('without the cookie the page says so', /cookies/.test(await visit.text()));

  await page.goto(visit.consent('nobody', back));
  check('an unknown client: the page says what to do', /remove the connector/i.test(await visit.text()));
  equal('and stays here', new URL(page.url()).origin, visit.base);

  const hostile = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">';
  const sly = await visit.register({ client_name: hostile, redirect_uris: [back] });
  await page.goto(visit.consent(sly, back));
  check('script in a name stays text', (await page.title()) !== 'owned' && (await page.locator('main img, main script').count()) === 0);
  await visit.answer('authorize');
  await landed();
  await visit.redeem(sly, back, visit.code());

  const framing = await site(() => `<iframe src="${consent.replaceAll('&', '&amp;')}"></iframe>`, defer);
  const frameProblems = problems.length;
  await page.goto(framing);
  const framed = page.frames().find((frame) => frame !== page.mainFrame());
  equal('no other site can frame the page', new URL(framed.url()).protocol, 'chrome-error:');
  problems.length = frameProblems;

  // Connections.
  await page.goto(`${visit.base}/connections`);
  await visit.pin().fill(demo.pin);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.rows');
  const rows = await page.locator('.rows > li').count();
  check('the owner sees who is connected', rows >= 3, `${rows} rows`);
  check('script in a name stays text here too', (await page.title()) !== 'owned');
  await named(visit);
  await limited(visit);
  await tokens(visit, context);
  await ended(visit, rows);

  // Landing page.
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: visit.base });
  await page.goto(visit.base);
  await page.getByRole('button', { name: 'Copy the address' }).click();
  await page.waitForSelector('text=Copied.');
  equal('the address is copied', await page.evaluate(() => navigator.clipboard.readText()), demo.url);

  // Addresses that people try.
  await page.goto(`${visit.base}/mcp`);
  check('the connector URL in a browser explains itself', /This address is for apps/.test(await visit.text()));
  await page.click('text=How to add it to each app');
  equal('and leads to the landing page', new URL(page.url()).pathname, '/');
  await page.goto(`${visit.base}/connections/`);
  check('a wrong address leads to the right one', /Page not found/.test(await visit.text()));
  await page.click('text=Connected apps');
  equal('to the connections', new URL(page.url()).pathname, '/connections');

  // In a separate tab: the browser asks there whether to open the app, and does not react to anything else until then.
  const leaving = await context.newPage();
  const app = await visit.register({ client_name: 'An app', redirect_uris: ['cursor://anysphere.cursor-mcp/oauth/callback'] });
  await leaving.goto(visit.consent(app, 'cursor://anysphere.cursor-mcp/oauth/callback'));
  const session = await context.newCDPSession(leaving);
  await session.send('Network.enable');
  const left = new Promise((resolve) => session.on('Network.requestWillBeSent', ({ request }) => {
    if (request.url.startsWith('cursor:')) resolve(request.url);
  }));
  const redirected = leaving.waitForResponse((response) => response.status() === 303);
  await visit.answer('authorize', leaving);
  check('the way to an app is taken', (await (await redirected).headerValue('location')).startsWith('cursor://anysphere.cursor-mcp/oauth/callback?'));
  const followed = await Promise.race([left, new Promise((resolve) => { setTimeout(resolve, 3000, 'not seen'); })]);
  check('and no policy of ours stands in it', !problems.some((problem) => /form-action|Content Security/.test(problem)), String(followed).split('?')[0]);

  await leaving.close();

  // Without JavaScript, on a phone.
  const plain = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 320, height: 640 } });
  const phone = await plain.newPage();
  await phone.goto(consent);
  await visit.answer('authorize', phone);
  await phone.waitForURL(`${back}?*`);
  check('without JavaScript too', phone.url().includes('code='));
  await plain.close();

  // Guessing, last: it blocks this address.
  await page.goto(consent);
  for (const left of ['4 tries', '3 tries', '2 tries', 'One try']) {
    await visit.pin().fill('wrongPIN9');
    await page.keyboard.press('Enter');
    await page.waitForSelector(`[role=alert]:has-text("${left}")`);
  }
  await page.reload();
  check('reloading sends nothing again', await page.locator('[role=alert]').count() === 0);
  await visit.pin().fill('wrongPIN9');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[role=alert]:has-text("second")');
  check('the fifth wrong PIN makes one wait', /30 seconds/.test(await visit.text()), (await page.textContent('[role=alert]')).trim());
  await visit.answer('authorize').catch(() => {});
  check('and the right one is not taken meanwhile', page.url().startsWith(visit.base));

  equal('no script error, no violated policy, no foreign request', problems, []);
});
