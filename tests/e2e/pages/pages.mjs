// Every page in every state, in a real browser: layout, accessibility, security policy, keyboard.
//
//   cargo run --example pages -- DIR
//   node tests/e2e/pages/pages.mjs DIR [--screenshots OUT] [--only SUBSTRING]
//
// Needs chromium (CHROMIUM=/usr/bin/chromium), playwright-core, axe-core and html-validate.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FileSystemConfigLoader, HtmlValidate } from 'html-validate';
import { chromium } from 'playwright-core';
import { behaviour } from './behaviour.mjs';
import { serve } from './server.mjs';

const { values: options, positionals: [directory] } = parseArgs({
  allowPositionals: true,
  options: { screenshots: { type: 'string' }, only: { type: 'string', default: '' } },
});
if (!directory) throw new Error('usage: pages.mjs DIR [--screenshots OUT] [--only SUBSTRING]');
if (options.screenshots) mkdirSync(options.screenshots, { recursive: true });

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WIDTHS = [320, 768, 1280];
const SCHEMES = ['light', 'dark'];
const MAX_BYTES = 20_000; // half of it is style and script

const failures = [];
let checks = 0;
function check(ok, what) {
  checks += 1;
  if (!ok) failures.push(what);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const server = await serve(directory);
const states = server.states.filter((state) => state.includes(options.only));

/** A page that records everything that should not happen while it is open. */
async function open(context, url) {
  const page = await context.newPage();
  const trouble = [];
  page.on('console', (message) => trouble.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => trouble.push(`script error: ${error.message}`));
  page.on('dialog', (dialog) => { trouble.push('a dialog'); dialog.dismiss(); });
  page.on('request', (request) => { if (request.url() !== url && !request.url().endsWith('/favicon.svg')) trouble.push(`request: ${request.url()}`); });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
  });
  const response = await page.goto(url);
  // `autofocus` sets the focus a moment after the load.
  await page.waitForFunction(() => document.querySelector('[autofocus]')?.matches(':focus') ?? true).catch(() => {});
  return { page, response, trouble };
}

/** What must be true of any page at any width. */
async function measure(page) {
  return page.evaluate(() => ({
    title: document.title,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    violations: window.violations,
    pwned: window.__pwned !== undefined,
    styled: getComputedStyle(document.querySelector('main')).borderRadius !== '0px',
    headings: document.querySelectorAll('h1').length,
    focused: document.activeElement?.id ?? '',
    focusMeant: document.querySelector('[autofocus]')?.id ?? '',
    hasPin: document.getElementById('pin') !== null,
    smallTargets: [...document.querySelectorAll('button, a.button, summary, input[type=password]')]
      .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24).map((e) => e.textContent),
  }));
}

const validator = new HtmlValidate(new FileSystemConfigLoader({ root: true, extends: ['html-validate:recommended'], rules: {
  // The templates' style for boolean attributes and void elements is as good as the rule's default.
  'void-style': 'off', 'no-trailing-whitespace': 'off',
  // The page is for the PIN: it has the focus, and the title says what the page is about.
  'no-autofocus': 'off',
  // A list in a form: the server reads all values of the field.
  'form-dup-name': 'off',
} }));

for (const state of states) {
  const bytes = readFileSync(join(directory, `${state}.html`));
  check(bytes.length < MAX_BYTES, `${state}: ${bytes.length} bytes`);
  const report = await validator.validateString(bytes.toString());
  for (const { messages } of report.results) {
    // That rule counts `&#60;` as five letters.
    for (const { line, ruleId, message } of messages.filter((m) => m.ruleId !== 'long-title' || !state.endsWith('-hostile'))) check(false, `${state}.html:${line} ${ruleId}: ${message}`);
  }
  checks += 1;

  for (const colorScheme of SCHEMES) {
    for (const width of WIDTHS) {
      const where = `${state} ${colorScheme} ${width}`;
      const context = await browser.newContext({
        colorScheme, viewport: { width, height: width === 320 ? 640 : 800 }, reducedMotion: 'reduce', deviceScaleFactor: 1,
      });
      const { page, response, trouble } = await open(context, `${server.base}/${state}`);
      check(response.status() === 200, `${where}: ${response.status()}`);
      const seen = await measure(page);
      check(seen.title.length > 3, `${where}: no title`);
      check(seen.overflow <= 0, `${where}: ${seen.overflow} px too wide`);
      check(seen.styled, `${where}: the style sheet was not applied`);
      check(seen.violations.length === 0, `${where}: policy violated: ${seen.violations}`);
      check(!seen.pwned, `${where}: script ran`);
      check(seen.headings === 1, `${where}: ${seen.headings} h1`);
      check(!seen.hasPin || seen.focused === seen.focusMeant, `${where}: focus is in '${seen.focused}'`);
      check(seen.smallTargets.length === 0, `${where}: small targets: ${seen.smallTargets}`);
      if (options.screenshots) {
        await page.screenshot({ path: join(options.screenshots, `${state}-${colorScheme}-${width}.png`), fullPage: true });
      }
      // With everything expanded: what is hidden at first must be accessible and fit too.
      await page.evaluate(() => document.querySelectorAll('details').forEach((e) => { e.open = true; }));
      check((await measure(page)).overflow <= 0, `${where}: unfolded, too wide`);
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      for (const { id, help, nodes } of violations) {
        check(false, `${where}: axe ${id}: ${help}: ${nodes.map((n) => n.html).join(' | ').slice(0, 300)}`);
      }
      check(trouble.length === 0, `${where}: ${trouble.join('; ')}`);
      await context.close();
    }
  }
}

if (!options.only) await behaviour({ browser, directory, check });

await server.close();
await browser.close();
for (const failure of failures) console.error(`✗ ${failure}`);
console.log(`${states.length} pages, ${checks} checks, ${failures.length} failures`);
process.exitCode = failures.length === 0 ? 0 : 1;
