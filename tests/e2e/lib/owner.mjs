/** The owner's browser, as far as the forms of the connections page go. */
export class Owner {
  constructor(url, pin) {
    this.base = new URL(url).origin;
    this.pin = pin;
    this.cookies = new Map();
  }

  async ask(path, fields) {
    const response = await fetch(`${this.base}${path}`, {
      method: fields ? 'POST' : 'GET',
      redirect: 'manual',
      headers: { cookie: [...this.cookies].map((pair) => pair.join('=')).join('; '), 'sec-fetch-site': 'same-origin' },
      body: fields && new URLSearchParams(fields),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [name, value] = cookie.split(';')[0].split('=');
      this.cookies.set(name, value);
    }
    return { status: response.status, text: await response.text() };
  }

  async form(page, fields) {
    const { text } = await this.ask(page);
    const hidden = (name) => text.match(new RegExp(`name="${name}" value="([^"]+)"`))?.[1];
    return this.ask('/connections', { csrf: hidden('csrf'), connection: hidden('connection') ?? '', ...fields });
  }
}
