// What the person does, over HTTP: opens the authorization URL, reads the page's form, sends the PIN, and returns the redirect
// instead of following it.
export async function authorize(url, pin, decision = 'authorize') {
  const page = await fetch(url, { redirect: 'manual' });
  const html = await page.text();
  if (page.status !== 200) throw new Error(`consent page: ${page.status} ${page.headers.get('location') ?? html}`);
  const id = html.match(/name="page" value="([^"]+)"/)[1];
  const answer = await fetch(new URL('/authorize', url), {
    method: 'POST',
    redirect: 'manual',
    headers: {
      cookie: page.headers.get('set-cookie').split(';')[0],
      'content-type': 'application/x-www-form-urlencoded',
      origin: 'null',
      'sec-fetch-site': 'same-origin',
    },
    body: new URLSearchParams({ page: id, pin, decision }),
  });
  if (answer.status !== 303) throw new Error(`consent: ${answer.status} ${await answer.text()}`);
  return new URL(answer.headers.get('location'));
}
