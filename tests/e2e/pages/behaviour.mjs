// What the pages do, and that the browser checks notice if a page does it wrong.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { serve } from './server.mjs';

export async function behaviour({ browser, directory, check }) {
  const html = readFileSync(join(directory, 'consent.html'), 'utf8');
  const csp = readFileSync(join(directory, 'consent.csp'), 'utf8');
  const server = await serve(directory, {
    '/altered-style': [html.replace('--ground:', '--ground :'), csp],
    '/added-script': [html.replace('</main>', '<script>window.__pwned = 1</script></main>'), csp],
    '/added-image': [html.replace('</main>', '<img alt="" src="/picture"></main>'), csp],
    '/form-action': [html, `${csp}; form-action 'self'`],
    '/frame': ['<!DOCTYPE html><title>f</title><iframe src="/consent"></iframe>', undefined],
  });
  const at = (path) => `${server.base}${path}`;
  const fresh = async (path, options = {}) => {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const console = [];
    page.on('console', (message) => console.push(message.text()));
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (e) => window.violations.push(e.effectiveDirective));
    });
    await page.goto(at(path));
    return { context, page, console };
  };
  const posted = async (act) => {
    server.posts.length = 0;
    const arrived = server.nextPost();
    await act();
    return arrived;
  };

  // The checks themselves: each kind of violation is noticed.
  for (const [path, directive] of [['/altered-style', 'style-src-elem'], ['/added-script', 'script-src-elem'], ['/added-image', 'img-src']]) {
    const { context, page } = await fresh(path);
    const violations = await page.evaluate(() => window.violations);
    check(violations.includes(directive), `${path}: violation not noticed (${violations})`);
    check(await page.evaluate(() => window.__pwned === undefined), `${path}: script ran`);
    await context.close();
  }

  // Enter in the PIN field authorizes, also without script.
  for (const javaScriptEnabled of [true, false]) {
    const { context, page } = await fresh('/consent', { javaScriptEnabled });
    const post = await posted(async () => { await page.focus('#pin'); await page.keyboard.type('correct-horse'); await page.keyboard.press('Enter'); });
    check(post.path === '/authorize' && JSON.stringify(Object.keys(post.fields).sort()) === '["decision","page","pin","username"]', `fields: ${JSON.stringify(post)}`);
    check(post.fields.decision === 'authorize' && post.fields.pin === 'correct-horse' && post.fields.username === 'owner', 'Enter authorizes');
    check(post.headers['sec-fetch-site'] === 'same-origin', `sec-fetch-site: ${post.headers['sec-fetch-site']}`);
    await context.close();
  }

  // An empty PIN is not sent; Deny needs none, with mouse and keyboard.
  {
    const { context, page } = await fresh('/consent');
    server.posts.length = 0;
    await page.click('button[value=authorize]');
    check(server.posts.length === 0, 'an empty PIN was sent');
    check((await posted(() => page.click('button[value=deny]'))).fields.decision === 'deny', 'Deny by mouse');
    await page.goto(at('/consent'));
    const stops = [];
    for (let i = 0; i < 4; i += 1) {
      await page.keyboard.press('Tab');
      stops.push(await page.evaluate(() => document.activeElement.id || document.activeElement.value || document.activeElement.textContent));
    }
    check(stops.join() === 'Full address,pin,authorize,deny', `tab order: ${stops}`);
    check(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle === 'solid'), 'focus is visible');
    check((await posted(() => page.keyboard.press('Enter'))).fields.decision === 'deny', 'Deny by keyboard');
    await context.close();
  }
  {
    const { context, page } = await fresh('/consent-closed');
    check((await posted(() => page.click('button[value=deny]'))).fields.decision === 'deny', 'Deny while closed');
    await context.close();
  }

  // A screen reader announces a wrong PIN.
  {
    const { context, page } = await fresh('/consent-wrong-pin');
    const field = page.getByLabel('PIN', { exact: true });
    check(await field.evaluate((e) => e === document.activeElement && e.getAttribute('aria-invalid') === 'true'
      && document.getElementById(e.getAttribute('aria-describedby')).getAttribute('role') === 'alert'), 'the field describes its error');
    check(await field.evaluate((e) => e.value === ''), 'the field is empty again');
    await context.close();
  }

  // The redirect to an app's own scheme is not blocked, and would be under `form-action`.
  server.answer = () => [303, { location: 'cursor://anysphere.cursor-mcp/oauth/callback?code=x' }];
  for (const [path, blocked] of [['/consent', false], ['/form-action', true]]) {
    const { context, page, console } = await fresh(path);
    const post = await posted(async () => { await page.focus('#pin'); await page.keyboard.type('pin123'); await page.keyboard.press('Enter'); });
    await page.waitForTimeout(300);
    const complaints = console.filter((text) => text.includes('form-action'));
    check(post.fields.pin === 'pin123' && (complaints.length > 0) === blocked, `${path}: ${console.join('; ') || 'no complaint'}`);
    await context.close();
  }
  server.answer = () => [204, {}];

  // No page can be framed.
  {
    const { context, page } = await fresh('/frame');
    const framed = await page.frames()[1]?.content();
    check(!framed?.includes('name="pin"'), 'the consent page was framed');
    await context.close();
  }

  // Ending connections.
  {
    const { context, page } = await fresh('/connections');
    const end = await posted(() => page.getByRole('button', { name: 'End the connection of Claude', exact: true }).click());
    check(end.path === '/connections' && end.fields.action === 'end' && end.fields.connection && end.fields.csrf, `end: ${JSON.stringify(end.fields)}`);
    await page.click('summary:has-text("End all")');
    const all = await posted(() => page.click('button[value=end-all]'));
    check(all.fields.action === 'end-all' && all.fields.csrf && !all.fields.connection, `end all: ${JSON.stringify(all.fields)}`);
    const out = await posted(() => page.click('button[value=sign-out]'));
    check(out.fields.action === 'sign-out' && out.fields.csrf, `sign out: ${JSON.stringify(out.fields)}`);
    await page.goto(at('/sign-in'));
    const sign = await posted(async () => { await page.focus('#pin'); await page.keyboard.type('pin123'); await page.keyboard.press('Enter'); });
    check(sign.path === '/connections' && sign.fields.action === 'sign-in' && sign.fields.pin === 'pin123', `sign in: ${JSON.stringify(sign.fields)}`);
    await context.close();
  }

  // The copy button exists with script, and does not without.
  {
    const { context, page } = await fresh('/landing', { permissions: ['clipboard-read', 'clipboard-write'] });
    await page.click('#copy');
    await page.waitForSelector('text=Copied.');
    check(await page.evaluate(() => navigator.clipboard.readText()) === 'https://connector.example/mcp', 'the address was copied');
    await context.close();
    const plain = await fresh('/landing', { javaScriptEnabled: false });
    check(!await plain.page.isVisible('#copy') && await plain.page.isVisible('#url'), 'no dead button without script');
    await plain.context.close();
  }

  await server.close();
}
