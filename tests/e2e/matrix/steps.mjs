// What every client of the matrix does, on one host: sign in, list, call, run again, refresh, revoke.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endWithUs } from '../lib/processes.mjs';
import { Browser } from './browser.mjs';

export const STEPS = ['sign in', 'tools/list', 'tools/call', 'expired token', 'reconnect', 'refused token', 'revoke'];
/** How long one run of a client may take. */
const RUN_LIMIT_MS = Number(process.env.RUN_LIMIT_MS ?? 90_000);
/** What the client reads as the lifetime of its first token. */
const SHORT_LIFETIME_SECONDS = 1;

/** Runs a client's script once; resolves to what it printed in its last line: the names of tools, and the text of a call. */
async function runClient(client, url, home, browser, message, environment) {
  const [program, script] = client.command;
  const child = spawn(program, [script, url, home, message], {
    cwd: home,
    env: { ...environment, HOME: home, ...browser.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // So that everything that it starts can be ended with it.
  });
  endWithUs(child);
  let output = '';
  let errors = '';
  // Some open the browser by a path of their own, and print the URL.
  child.stdout.on('data', (chunk) => { browser.read(output += chunk); });
  child.stderr.on('data', (chunk) => { browser.read(errors += chunk); });
  let late = false;
  const endGroup = () => { try { process.kill(-child.pid, 'SIGKILL'); } catch { /* It has ended. */ } };
  const timer = setTimeout(() => { late = true; endGroup(); }, RUN_LIMIT_MS);
  const code = await new Promise((resolve) => child.once('exit', resolve));
  clearTimeout(timer);
  endGroup();
  const last = output.trim().split('\n').at(-1);
  if (process.env.VERBOSE) console.error(`--- ${client.name}: ${message}\n${output}${errors}`);
  if (code !== 0) {
    return { failed: `person asked ${browser.asked} times ${browser.problems}; ${late ? 'not ready in time' : `exit code ${code}`}: ${(errors || output).trim().slice(-1500)}`, };
  }
  try {
    return JSON.parse(last);
  } catch {
    return { failed: `printed no result: ${(output + errors).slice(-1500)}` };
  }
}

/** All steps; calls `report(step, held, detail)` for each. `server` can `restart()`. */
export async function takeSteps(client, server, front, environment, report) {
  const home = mkdtempSync(join(tmpdir(), 'e2e-client-'));
  const browser = new Browser(home, server.pin);
  const url = `${front.origin}/mcp`;
  const { noted } = front;
  const refreshes = () => noted.grants.filter(({ grant, status }) => grant === 'refresh_token' && status === 200).length;
  let count = 0;
  /** One run; what changed while it ran. */
  async function once() {
    const message = `hello ${count += 1}`;
    const before = { asked: browser.asked, refreshes: refreshes(), calls: noted.calls.length };
    const result = await runClient(client, url, home, browser, message, environment);
    const calls = noted.calls.slice(before.calls);
    const passed = (method) => calls.some((call) => call.method === method && call.status === 200);
    return {
      ...result,
      asked: browser.asked - before.asked,
      refreshed: refreshes() - before.refreshes,
      listed: passed('tools/list') && (result.tools === undefined || result.tools.some((name) => name.includes('echo'))),
      called: passed('tools/call') && (result.text ?? '').includes(message),
      works: !result.failed && (result.text ?? '').includes(message),
    };
  }
  const seen = (run) => run.failed
    ?? `person asked ${run.asked} times, ${run.refreshed} refreshes${run.works ? '' : ', no result'}${browser.problems.length ? `; ${browser.problems}` : ''}`;

  try {
    front.expiresIn = SHORT_LIFETIME_SECONDS;
    const first = await once();
    front.expiresIn = undefined;
    report('sign in', first.works && first.asked === 1 && noted.grants.some(({ status }) => status === 200), seen(first));
    if (first.failed) return;
    report('tools/list', first.listed, first.tools ? `${first.tools.length} tools` : seen(first));
    report('tools/call', first.called, first.called ? '' : seen(first));

    const expired = await once();
    report('expired token', expired.works && expired.asked === 0, seen(expired));

    await server.restart();
    const again = await once();
    report('reconnect', again.works && again.asked === 0, seen(again));

    front.refuseIssued();
    const refused = await once();
    report('refused token', refused.works && refused.asked === 0 && refused.refreshed > 0, seen(refused));

    const form = { token: front.tokens.refresh_token, client_id: front.clientId };
    if (front.clientSecret) form.client_secret = front.clientSecret;
    const revoked = await fetch(`${front.origin}/revoke`, { method: 'POST', body: new URLSearchParams(form) });
    const ended = await once();
    report('revoke', revoked.status === 200 && ended.works && ended.asked === 1, `revoke: ${revoked.status}; ${seen(ended)}`);
  } finally {
    browser.stop();
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
  }
}
