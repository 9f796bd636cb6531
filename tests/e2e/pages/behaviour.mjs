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
    '/added-image': [html.replace('</main>', '<img alt="" src="data:image/png;base64,"></main>'), csp],
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
    check(post.path === '/authorize' && JSON.stringify(Object.keys(post.fields).sort()) === '["decision","limit","name","page","pin","username"]', `fields: ${JSON.stringify(post)}`);
    check(post.fields.decision === 'authorize' && post.fields.pin === 'correct-horse' && post.fields.username === 'owner', 'Enter authorizes');
    check(post.headers['sec-fetch-site'] === 'same-origin', `sec-fetch-site: ${post.headers['sec-fetch-site']}`);
    await context.close();
  }

  // A click that began in another window must not authorize: half a second passes after the page comes to the front.
  {
    const { context, page } = await fresh('/consent');
    await page.fill('#pin', 'correct-horse');
    server.posts.length = 0;
    const prevented = await page.evaluate(() => {
      dispatchEvent(new Event('focus'));
      const click = new MouseEvent('click', { detail: 1, bubbles: true, cancelable: true });
      return !document.querySelector('button[value=authorize]').dispatchEvent(click);
    });
    check(prevented && server.posts.length === 0, 'a click right after the page came to the front authorizes');
    check((await posted(() => page.click('button[value=authorize]'))).fields.decision === 'authorize', 'a later click authorizes');
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
    for (let i = 0; i < 7; i += 1) {
      await page.keyboard.press('Tab');
      stops.push(await page.evaluate(() => document.activeElement.id || document.activeElement.value || document.activeElement.textContent));
    }
    check(stops.join() === 'Full address,everything,name,pin,show-pin,authorize,deny', `tab order: ${stops}`);
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
      && e.getAttribute('aria-describedby').split(' ').some((id) => document.getElementById(id).getAttribute('role') === 'alert')), 'the field describes its error');
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
    const href = (name) => page.getByRole('link', { name, exact: true }).getAttribute('href');
    check(await href('End the connection of Claude') === '/connections/end?connection=Zmlyc3QtY29ubmVjdGlvbg', 'End is a link to a question');
    check(await href('End all') === '/connections/end?all=yes', 'End all, too');
    await page.getByRole('checkbox', { name: 'Select Claude', exact: true }).check();
    await page.getByRole('checkbox', { name: 'Select Cursor', exact: true }).check();
    const asked = page.waitForRequest(/connections\/end/);
    await page.click('text=End selected');
    check((await asked).url().endsWith('/connections/end?connection=Zmlyc3QtY29ubmVjdGlvbg&connection=c3RhdGUtb2YtdGhlLWE'), `selected: ${(await asked).url()}`);
    await page.goto(at('/end-several'));
    const end = await posted(() => page.click('button[value=end]'));
    check(end.path === '/connections' && end.fields.action === 'end' && end.fields.connection && end.fields.csrf, `end: ${JSON.stringify(end.fields)}`);
    await page.goto(at('/end-all'));
    const all = await posted(() => page.click('button[value=end-all]'));
    check(all.fields.action === 'end-all' && all.fields.csrf && !all.fields.connection, `end all: ${JSON.stringify(all.fields)}`);
    await page.goto(at('/connections'));
    const out = await posted(() => page.click('button[value=sign-out]'));
    check(out.fields.action === 'sign-out' && out.fields.csrf, `sign out: ${JSON.stringify(out.fields)}`);
    await page.goto(at('/sign-in'));
    const sign = await posted(async () => { await page.focus('#pin'); await page.keyboard.type('pin123'); await page.keyboard.press('Enter'); });
    check(sign.path === '/connections' && sign.fields.action === 'sign-in' && sign.fields.pin === 'pin123', `sign in: ${JSON.stringify(sign.fields)}`);
    await context.close();
  }

  // Each snippet has a copy button with script, and none without.
  {
    const { context, page } = await fresh('/landing', { permissions: ['clipboard-read', 'clipboard-write'] });
    for (const [button, text] of [['Copy the address', 'https://connector.example/mcp'],
      ['Copy the command', 'claude mcp add --transport http github https://connector.example/mcp']]) {
      await page.evaluate(() => document.querySelectorAll('details').forEach((e) => { e.open = true; }));
      await page.getByRole('button', { name: button, exact: true }).click();
      await page.waitForSelector('text=Copied');
      check(await page.evaluate(() => navigator.clipboard.readText()) === text, `${button}: was copied`);
      check(await page.getByRole('status').textContent() === 'Copied.', 'and said');
    }
    await context.close();
    const plain = await fresh('/landing', { javaScriptEnabled: false });
    check(!await plain.page.isVisible('[data-copy]') && await plain.page.isVisible('#url'), 'no dead button without script');
    await plain.context.close();
  }

  // Choosing tools: search and selection with script, and links to selections without.
  {
    const { context, page } = await fresh('/tools');
    const checked = () => page.locator('.tools input').evaluateAll((boxes) => boxes.filter((box) => box.checked).map((box) => box.value).join());
    check(await checked() === 'get_me,list_issues,create_issue,old_tool', `chosen: ${await checked()}`);
    await page.getByRole('button', { name: 'Only reading' }).click();
    check(await checked() === 'get_me,list_issues,search_code', `reading: ${await checked()}`);
    await page.getByLabel('Find a tool').fill('issue OPEN');
    check(await page.locator('.tools li:visible').count() === 1, 'the search finds words in any order and case');
    check(await page.locator('.tools:visible').count() === 1, 'groups without a match are hidden');
    await page.getByRole('button', { name: 'All', exact: true }).click();
    check(await checked() === 'get_me,list_issues,search_code,create_issue', `all that are found: ${await checked()}`);
    server.posts.length = 0;
    await page.keyboard.press('Enter');
    await page.focus('#find');
    await page.keyboard.press('Enter');
    check(server.posts.length === 0, 'Enter in the search sends nothing');
    const saved = await posted(() => page.click('button[value=tools]'));
    check(saved.fields.action === 'tools' && saved.fields.connection && saved.fields.csrf && saved.fields.tool === 'create_issue', `saved: ${JSON.stringify(saved.fields)}`);
    await context.close();
    const plain = await fresh('/tools', { javaScriptEnabled: false });
    check(!await plain.page.isVisible('#find'), 'no dead search without script');
    const asked = plain.page.waitForRequest(/connections\/tools/);
    await plain.page.getByRole('button', { name: 'None' }).click();
    check((await asked).url().endsWith('/connections/tools?connection=c3RhdGUtb2YtdGhlLWE&select=none'), 'selection without script');
    await plain.context.close();
  }

  // The forms of one connection and of a token.
  {
    const { context, page } = await fresh('/connection');
    const renamed = await posted(async () => { await page.focus('#name'); await page.keyboard.press('Enter'); });
    check(renamed.fields.action === 'rename' && renamed.fields.name === 'Claude Code on the laptop' && renamed.fields.csrf, `rename: ${JSON.stringify(renamed.fields)}`);
    const limited = await posted(() => page.click('button[value=limit]'));
    check(limited.fields.action === 'limit' && limited.fields.limit === 'read_only' && limited.fields.csrf, `limit: ${JSON.stringify(limited.fields)}`);
    await page.goto(at('/new-token'));
    server.posts.length = 0;
    await page.click('button[value=create-token]');
    check(server.posts.length === 0, 'a token needs a name');
    await page.fill('#name', 'x');
    const created = await posted(() => page.keyboard.press('Enter'));
    check(['create-token', 'everything', '30'].join() === [created.fields.action, created.fields.limit, created.fields.days].join(), `token: ${JSON.stringify(created.fields)}`);
    await context.close();
  }

  // Times are local and relative with script, in UTC without.
  {
    const { context, page } = await fresh('/connections', { timezoneId: 'Asia/Tokyo', locale: 'de-DE' });
    const shown = await page.locator('time').first().textContent();
    check(/^(\d+ \w+ ago|just now|in \d+ \w+|this \w+|last \w+|next \w+|yesterday|tomorrow) 23 Nov( 2026)?, 21:00$/.test(shown), `time: ${shown}`);
    await context.close();
    const plain = await fresh('/connections', { javaScriptEnabled: false });
    check(await plain.page.locator('time').first().textContent() === '2026-11-23 12:00 UTC', 'UTC without script');
    await plain.context.close();
  }

  // The PIN can be shown, and is a password again when it is sent.
  {
    const { context, page } = await fresh('/sign-in');
    await page.fill('#pin', 'pin123');
    await page.getByRole('button', { name: 'Show the PIN' }).click();
    check(await page.getAttribute('#pin', 'type') === 'text', 'the PIN is shown');
    await page.getByRole('button', { name: 'Hide the PIN' }).click();
    check(await page.getAttribute('#pin', 'type') === 'password', 'and hidden');
    await page.getByRole('button', { name: 'Show the PIN' }).click();
    await posted(() => page.click('text=Continue'));
    check(await page.getAttribute('#pin', 'type') === 'password', 'it is a password when it is sent');
    await context.close();
  }

  // The countdown runs, and is not read aloud every second.
  {
    const { context, page } = await fresh('/sign-in-wait');
    check(/again in 0:(30|29)\./.test(await page.getByRole('timer').textContent()), 'countdown');
    await page.waitForFunction(() => /0:2[0-8]\./.test(document.getElementById('wait').textContent));
    check(await page.evaluate(() => document.getElementById('wait').closest('[role=alert]') === null), 'outside the alert');
    await context.close();
    const plain = await fresh('/sign-in-wait', { javaScriptEnabled: false });
    check(!await plain.page.isVisible('#wait') && /Wait 30 seconds/.test(await plain.page.textContent('main')), 'no countdown without script');
    await plain.context.close();
  }

  // The focus ring of what can be opened is not cut off.
  {
    const { context, page } = await fresh('/consent');
    await page.focus('summary');
    const clipped = await page.evaluate(() => {
      for (let e = document.activeElement.parentElement; e; e = e.parentElement) {
        if (getComputedStyle(e).overflowX !== 'visible' && e !== document.documentElement && e !== document.body) return e.tagName;
      }
      return '';
    });
    check(clipped === '', `the focus ring is clipped by ${clipped}`);
    await context.close();
  }

  await server.close();
}
