// The stand-in for a person with a browser. Programs find it as $BROWSER and as xdg-open, and it gets the URLs that
// they open; a program that only prints its URL is read by the script that drives it.
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { authorize } from '../lib/person.mjs';

const LOOK_MS = 50;
const RETRY_MS = 250;
/** It ends with a space, a quote, or a control character: terminals print it as a link. */
const AUTHORIZATION_URL = /https?:\/\/[^\s"'<>\x00-\x1f]+\/authorize\?[^\s"'<>\x00-\x1f]+(?=[\s"'<>\x00-\x1f])/g;

export class Browser {
  asked = 0;
  problems = [];
  #seen = new Set();
  #queue = Promise.resolve();

  constructor(home, pin) {
    this.pin = pin;
    this.bin = join(home, 'bin');
    this.opened = join(home, 'opened-urls');
    mkdirSync(this.bin, { recursive: true });
    const script = `#!/bin/sh\nfor word; do printf '%s\\n' "$word" >> '${this.opened}'; done\n`;
    for (const name of ['browser', 'xdg-open', 'www-browser', 'x-www-browser', 'open']) {
      writeFileSync(join(this.bin, name), script);
      chmodSync(join(this.bin, name), 0o755);
    }
    this.timer = setInterval(() => this.#look(), LOOK_MS);
  }

  get env() {
    return { BROWSER: join(this.bin, 'browser'), PATH: `${this.bin}:${process.env.PATH}`, OPENED_URLS: this.opened, DISPLAY: ':99' };
  }

  #look() {
    if (existsSync(this.opened)) this.read(readFileSync(this.opened, 'utf8'));
  }

  /** Visits the authorization URLs in a text, each once, however often it is printed. */
  read(text) {
    for (const [url] of text.matchAll(AUTHORIZATION_URL)) {
      const key = new URL(url).searchParams.get('code_challenge');
      if (key === null || this.#seen.has(key)) continue;
      this.#seen.add(key);
      this.#queue = this.#queue.then(() => this.#visit(url)).catch((error) => this.problems.push(String(error.stack ?? error)));
    }
  }

  async #visit(url) {
    this.asked += 1;
    const back = await authorize(url, this.pin);
    const landed = await this.#follow(back);
    await landed.text();
    if (landed.status >= 400) this.problems.push(`the client's callback: ${landed.status}`);
  }

  /** A program that prints its URL before it listens gets the time that a person needs. */
  async #follow(back, tries = 40) {
    try {
      return await fetch(back);
    } catch (error) {
      if (tries === 0) throw error;
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
      return this.#follow(back, tries - 1);
    }
  }

  stop() { clearInterval(this.timer); }
}

/** For scripts that drive a client: opens a URL that the client gave them. */
export const open = (url) => appendFileSync(process.env.OPENED_URLS, `${url}\n`);
