// What the person does, over HTTP: opens the authorization URL, reads the page's form, sends the PIN, and returns the redirect
// instead of following it.

/** A consent page that was opened: its URL, its id, and its browser's cookie. */
export async function opened(url) {
  const page = await fetch(url, { redirect: 'manual' });
  const html = await page.text();
  if (page.status !== 200) throw new Error(`consent page: ${page.status} ${page.headers.get('location') ?? html}`);
  return { url, id: html.match(/name="page" value="([^"]+)"/)[1], cookie: page.headers.get('set-cookie').split(';')[0] };
}

/** Sends its form. `chosen` are the fields for name and limit. */
export async function submitted(page, pin, decision = 'authorize', chosen = {}) {
  const answer = await fetch(new URL('/authorize', page.url), {
    method: 'POST',
    redirect: 'manual',
    headers: {
      cookie: page.cookie,
      'content-type': 'application/x-www-form-urlencoded',
      origin: 'null',
      'sec-fetch-site': 'same-origin',
    },
    body: new URLSearchParams({ page: page.id, pin, decision, ...chosen }),
  });
  if (answer.status !== 303) throw new Error(`consent: ${answer.status} ${await answer.text()}`);
  return new URL(answer.headers.get('location'), page.url);
}

export async function authorize(url, pin, decision = 'authorize') {
  return submitted(await opened(url), pin, decision);
}
