// What a Function URL with the invoke mode RESPONSE_STREAM does with a request and with a response. If AWS documents a rule,
// the comment names the document. The rest is marked: (reported) by others, or (assumed). Nothing was measured on our own
// account. If reports differ, the worse behaviour is used.
import { createBrotliDecompress, createGunzip, createInflate, constants } from 'node:zlib';

/** Limit of the event's JSON, base64 included (AWS, Lambda quotas: 6 MB). */
export const EVENT_LIMIT_BYTES = 6 * 1024 * 1024;
/** Prelude and separator must end within this (API Gateway, response transfer mode; for Function URLs assumed). */
const PRELUDE_LIMIT_BYTES = 16 * 1024;
/** What separates the body from the JSON with status, headers and cookies. */
const SEPARATOR = Buffer.alloc(8);

/**
 * Renamed on the way out: `www-authenticate` on Function URLs (reported three times), the others in API Gateway's
 * documented list (assumed to be the same).
 */
const RENAMED_RESPONSE_HEADERS = new Set(['authorization', 'connection', 'content-length', 'content-md5', 'date', 'expect', 'host',
  'keep-alive', 'max-forwards', 'proxy-authenticate', 'server', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'user-agent', 'via',
  'www-authenticate', 'x-amzn-requestid', 'x-forwarded-for']);

/** They are about one connection, so they are not part of the event. */
const HOP_BY_HOP_HEADERS = new Set(['connection', 'expect', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

/** Bodies of these types arrive as text, all others in base64, forms among them (reported: ministack #766, CUDly #1483). */
const TEXT = /^(text\/.*|application\/(json|javascript|xml))$/i;

/** Spaces and letters that are not ASCII arrive decoded, everything else as it was sent (reported; behind CloudFront). */
const partlyDecoded = (path) => path.replace(/(?:%[89a-f][0-9a-f])+|%20/gi, (escapes) => {
  try {
    return decodeURIComponent(escapes);
  } catch {
    return escapes;
  }
});

/** The time as access logs write it: 23/Nov/2026:12:00:00 +0000. */
function logTime(date) {
  const [, day, month, year, time] = date.toUTCString().match(/(\d\d) (\w+) (\d+) (\S+)/);
  return `${day}/${month}/${year}:${time} +0000`;
}

/** The event of payload version 2.0 (AWS, "Invoking Lambda function URLs"), as bytes, or undefined if it is too large. */
export function eventOf(asked, body, domainName, requestId) {
  const [path, query = ''] = asked.url.split(/\?(.*)/s);
  const rawPath = partlyDecoded(path);
  const rawQueryString = query.replaceAll('+', ' ');
  const headers = { host: domainName, 'x-forwarded-for': asked.socket.remoteAddress, 'x-forwarded-port': '443', 'x-forwarded-proto': 'https',
    'x-amzn-tls-cipher-suite': 'TLS_AES_128_GCM_SHA256', 'x-amzn-tls-version': 'TLSv1.3', 'x-amzn-trace-id': `Root=${requestId}` };
  let cookies;
  // Names are in lower case, several values are joined by commas, and cookies are separate.
  for (const [name, values] of Object.entries(asked.headersDistinct)) {
    if (name === 'cookie') cookies = values.flatMap((value) => value.split(/; */));
    else if (!HOP_BY_HOP_HEADERS.has(name) && !(name in headers)) headers[name] = values.join(',');
  }
  const text = TEXT.test((headers['content-type'] ?? '').split(';')[0].trim()) && headers['content-encoding'] === undefined;
  const parameters = {};
  for (const [name, value] of new URLSearchParams(query)) parameters[name] = name in parameters ? `${parameters[name]},${value}` : value;
  const rest = {
    version: '2.0', routeKey: '$default', rawPath, rawQueryString, ...(cookies ? { cookies } : {}),
    ...(query === '' ? {} : { queryStringParameters: parameters }),
    requestContext: {
      accountId: 'anonymous', apiId: 'e2e', domainName, domainPrefix: domainName.split('.')[0],
      http: { method: asked.method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: asked.socket.remoteAddress, userAgent: asked.headers['user-agent'] ?? '' },
      requestId, routeKey: '$default', stage: '$default', time: logTime(new Date()), timeEpoch: Date.now(),
    },
    ...(body.length > 0 ? { body: body.toString(text ? 'utf8' : 'base64') } : {}),
    isBase64Encoded: body.length > 0 && !text,
  };
  // Bytes of a header that are not UTF-8 stay in the event, which then is not UTF-8 either (reported:
  // aws-lambda-rust-runtime #509 and #786). Node gives a header's bytes as characters of latin1.
  const event = Buffer.concat([
    Buffer.from(`{"headers":${JSON.stringify(headers)},`, 'latin1'),
    Buffer.from(JSON.stringify(rest).slice(1)),
  ]);
  return event.length > EVENT_LIMIT_BYTES ? undefined : event;
}

/** The URL's own response. The body of a 502 is text whatever its type says (reported: middy #1137). */
export function refuse(response, status, error, body) {
  response.writeHead(status, { 'content-type': 'application/json', 'x-amzn-requestid': 'r', ...(error ? { 'x-amzn-errortype': error } : {}) });
  response.end(body);
}

export const tooLarge = (response) => refuse(response, 413, 'RequestEntityTooLargeException',
  JSON.stringify({ Message: `Request must be smaller than ${EVENT_LIMIT_BYTES} bytes for the InvokeFunction operation` }));
export const throttled = (response) => refuse(response, 429, 'TooManyRequestsException',
  JSON.stringify({ Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded', Type: 'User', message: 'Rate Exceeded.' }));
export const failed = (response) => refuse(response, 502, undefined, 'Internal Server Error');

/** Status, headers and cookies from the prelude; throws the reason if AWS could not read it. */
function readPrelude(bytes) {
  const { statusCode = 200, headers = {}, cookies = [] } = JSON.parse(bytes);
  if (!Number.isInteger(statusCode) || statusCode < 200 || statusCode > 599) throw new Error(`the status code ${statusCode}`);
  const strings = (values) => values.every((value) => typeof value === 'string');
  if (!strings(Object.values(headers)) || !Array.isArray(cookies) || !strings(cookies)) throw new Error('a header or cookie that is no string');
  return { statusCode, headers, cookies };
}

/** Content codings are decoded on the way (reported: aws-lambda-nodejs-runtime-interface-client #96). */
const DECODERS = {
  gzip: () => createGunzip({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }),
  deflate: () => createInflate({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }),
  br: () => createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
};

/**
 * Forwards what a function sends to /response to the client: the prelude becomes status and headers, and these are sent
 * together with the first byte of the body (reported: some clients get no status and no headers if the body is empty).
 */
export class Outgoing {
  /** Bytes of the body, as the function sent them. */
  bodyBytes = 0;
  /** What AWS could not read, or `undefined`. */
  malformed = undefined;
  head = undefined;
  #response;
  #prelude = Buffer.alloc(0);
  #sink = undefined;

  constructor(response) {
    this.#response = response;
    // A client that goes away does not stop the function (AWS, "Response streaming").
    response.on('error', () => {});
  }

  get started() { return this.#sink !== undefined; }

  take(chunk) {
    if (this.malformed) return;
    if (this.head) {
      this.#body(chunk);
      return;
    }
    this.#prelude = Buffer.concat([this.#prelude, chunk]);
    const at = this.#prelude.indexOf(SEPARATOR);
    if ((at < 0 ? this.#prelude.length : at) + SEPARATOR.length > PRELUDE_LIMIT_BYTES) {
      this.malformed = `a prelude of more than ${PRELUDE_LIMIT_BYTES} bytes`;
    } else if (at >= 0) {
      try {
        this.head = readPrelude(this.#prelude.subarray(0, at));
      } catch (error) {
        this.malformed = `a prelude with ${error.message}`;
        return;
      }
      this.#body(this.#prelude.subarray(at + SEPARATOR.length));
    }
  }

  #body(chunk) {
    if (chunk.length === 0) return;
    this.bodyBytes += chunk.length;
    if (!this.#sink) this.#sink = this.#begin();
    this.#sink.write(chunk);
  }

  #begin() {
    const headers = { 'x-amzn-requestid': 'r' };
    let decoder;
    for (const [name, value] of Object.entries(this.head.headers)) {
      const lower = name.toLowerCase();
      if (lower === 'content-encoding' && value in DECODERS) decoder = DECODERS[value]();
      else headers[RENAMED_RESPONSE_HEADERS.has(lower) ? `x-amzn-Remapped-${lower}` : lower] = value;
    }
    if (this.head.cookies.length > 0) headers['set-cookie'] = this.head.cookies;
    // For HEAD, 204 and 304 Node removes the body, as the Function URL does.
    this.#response.writeHead(this.head.statusCode, headers);
    if (!decoder) return this.#response;
    decoder.on('error', () => this.#response.destroy());
    decoder.pipe(this.#response);
    return decoder;
  }

  /** The whole response has arrived. */
  end() { this.#sink.end(); }

  /** Nothing more will arrive: a 502 if nothing was sent yet, otherwise the client sees its connection closed. */
  cut() {
    if (this.started || this.#response.headersSent) this.#response.destroy();
    else failed(this.#response);
  }
}
