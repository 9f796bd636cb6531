// CloudFront on loopback, as configured by infra/edge.yaml: it runs the viewer-request function of that template, sends all
// other requests to the origin with the origin's Host and the origin secret, and ends what is silent for too long. If AWS
// documents a rule, the comment names the document (all from the CloudFront Developer Guide). What others reported, or what is
// an assumption, is marked. Nothing was measured on an account.
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { viewerRequest, viewerRequestEvent } from './edge.mjs';

/** The user agent of all requests to the origin. */
export const VIEWER_ADDRESS = '203.0.113.77';
/** "Response timeout": 30 s unless the distribution says otherwise. It starts again with each packet. */
const SILENCE_MS = 30_000;
/** "Quotas": the length of a URL. */
const URL_LIMIT_BYTES = 8192;
const METHODS = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'PATCH', 'POST', 'DELETE'];

/** "Restrictions on all edge functions": neither shown to functions nor forwarded. */
const DISALLOWED = /^(connection|expect|keep-alive|proxy-(authenticate|authorization|connection)|trailer|upgrade|te|x-accel-.*|x-amz-cf-.*|x-amzn-.*|x-edge-.*|x-cache.*|x-forwarded-proto|x-real-ip|cloudfront-.*)$/;
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-authenticate', 'te', 'trailer', 'transfer-encoding', 'upgrade'];
const TRACE = { via: '2.0 0123456789abcdef.cloudfront.net (CloudFront)', 'x-amz-cf-pop': 'FRA56-P1', 'x-amz-cf-id': 'e2e' };

const pairs = (raw) => raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1]]] : []));

/** CloudFront's own error page. */
function fail(response, status) {
  response.writeHead(status, { 'content-type': 'text/html', server: 'CloudFront', 'x-cache': 'Error from cloudfront', ...TRACE });
  response.end(`<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>${status}</BODY></HTML>`);
}

/** The query as an object and back, as functions get it: parameters with the same name are grouped. (assumed) */
function reordered(url) {
  const [path, query] = url.split(/\?(.*)/s);
  if (query === undefined) return url;
  const byName = new Map();
  for (const parameter of query.split('&')) {
    const [name] = parameter.split('=', 1);
    byName.set(name, [...(byName.get(name) ?? []), parameter]);
  }
  return `${path}?${[...byName.values()].flat().join('&')}`;
}

/**
 * Starts a distribution. Its origin is set later (`to`), because the origin needs its base URL first.
 * `parameters` are those of infra/edge.yaml.
 */
export async function cloudfront({ secret, parameters = {}, silenceMs = SILENCE_MS }) {
  const handler = viewerRequest(parameters);
  let origin;
  const seen = { answered: 0, passed: 0 };

  function toOrigin(asked, response, headers) {
    const { hostname, port, host } = new URL(origin);
    const sent = {};
    for (const [name, { value, multiValue }] of Object.entries(headers)) sent[name] = multiValue?.map((one) => one.value) ?? value;
    // "Request and response behavior for custom origins".
    Object.assign(sent, TRACE, {
      host,
      'x-forwarded-for': [sent['x-forwarded-for'], VIEWER_ADDRESS].filter(Boolean).join(', '),
      'x-origin-secret': secret,
      'cloudfront-forwarded-proto': 'https',
      'cloudfront-viewer-country': 'DE',
    });
    let begun = false;
    const end = () => {
      if (begun) response.destroy();
      else fail(response, 504);
      passed.destroy();
    };
    let silence = setTimeout(end, silenceMs);
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(end, silenceMs);
    };
    const over = () => clearTimeout(silence);
    const passed = request({ hostname, port, method: asked.method, path: reordered(asked.url), headers: sent }, (got) => {
      heard();
      begun = true;
      const back = pairs(got.rawHeaders).filter(([name]) => !HOP_BY_HOP.includes(name.toLowerCase()));
      const cache = got.statusCode >= 400 ? 'Error from cloudfront' : 'Miss from cloudfront';
      response.writeHead(got.statusCode, [...back, ['x-cache', cache], ...Object.entries(TRACE)].flat());
      response.flushHeaders();
      got.on('data', (chunk) => {
        heard();
        response.write(chunk);
      });
      got.on('end', () => {
        over();
        response.end();
      });
      // If the origin ends early, the viewer gets half a response.
      got.on('error', () => {
        over();
        response.destroy();
      });
    });
    passed.on('error', () => {
      over();
      if (!begun && !response.destroyed && !response.headersSent) fail(response, 502);
    });
    response.on('close', () => {
      over();
      passed.destroy();
    });
    asked.pipe(passed);
  }

  const front = createServer((asked, response) => {
    const hasBody = asked.headers['transfer-encoding'] !== undefined || Number(asked.headers['content-length'] ?? 0) > 0;
    // "GET requests that include a body", "Methods".
    if (!METHODS.includes(asked.method) || (hasBody && ['GET', 'HEAD'].includes(asked.method))) {
      fail(response, 403);
      return;
    }
    if (Buffer.byteLength(asked.url) > URL_LIMIT_BYTES) {
      fail(response, 414);
      return;
    }
    const headers = pairs(asked.rawHeaders).filter(([name]) => !DISALLOWED.test(name.toLowerCase()));
    const viewer = { method: asked.method, path: asked.url.split('?')[0], headers, address: VIEWER_ADDRESS, distribution: asked.headers.host };
    const result = handler(viewerRequestEvent(viewer));
    if (result.statusCode === undefined) {
      seen.passed += 1;
      toOrigin(asked, response, result.headers);
      return;
    }
    seen.answered += 1;
    asked.resume();
    // Loopback has no TLS.
    const plain = (text) => text.replaceAll(`https://${viewer.distribution}`, url);
    const given = Object.fromEntries(Object.entries(result.headers).map(([name, { value }]) => [name, plain(value)]));
    response.writeHead(result.statusCode, { ...given, server: 'CloudFront', 'x-cache': 'FunctionGeneratedResponse from cloudfront', ...TRACE });
    response.end(plain(result.body?.data ?? ''));
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  const url = `http://127.0.0.1:${front.address().port}`;

  return {
    url,
    /** Sends what the function forwards to this origin. */
    to(target) { origin = target; },
    /** How many responses came from the function, and how many requests it forwarded. */
    seen,
    stop() {
      front.closeAllConnections();
      front.close();
    },
  };
}
