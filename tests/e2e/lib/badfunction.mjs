// A function that does everything wrong, to check that the stand-in for AWS does what AWS is reported to do. The last segment
// of the event's path says what it does. (node badfunction.mjs table | serve URL, as examples/function.rs)
import { request } from 'node:http';
import { gzipSync } from 'node:zlib';

const API = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`;
const SEPARATOR = '\0'.repeat(8);

/** Sends this in pieces, and ends with these trailers or by exiting. */
function respond(id, pieces, { trailers = {}, dies = false, what = 'response' } = {}) {
  return new Promise((resolve) => {
    const sent = request(`${API}/invocation/${id}/${what}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/vnd.awslambda.http-integration-response', 'transfer-encoding': 'chunked',
        'lambda-runtime-function-response-mode': 'streaming',
        trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
      },
    }, (taken) => taken.resume().on('end', resolve));
    for (const piece of pieces) sent.write(piece);
    if (dies) setTimeout(() => process.exit(1), 1_000);
    else sent.addTrailers(trailers), sent.end();
  });
}

const prelude = (headers = {}, statusCode = 200) => JSON.stringify({ statusCode, headers, cookies: [] }) + SEPARATOR;
const broken = { 'Lambda-Runtime-Function-Error-Type': 'Test.Broken', 'Lambda-Runtime-Function-Error-Body': 'e30=' };

const DOES = {
  echo: (id, event) => respond(id, [prelude(), JSON.stringify(event)]),
  empty: (id) => respond(id, [prelude({}, 202)]),
  renamed: (id) => respond(id, [prelude({ 'www-authenticate': 'Bearer', date: 'today', server: 'x', 'x-own': 'y' }, 401), 'no']),
  gzip: (id) => respond(id, [prelude({ 'content-encoding': 'gzip' }), gzipSync('plain text')]),
  'no-prelude': (id) => respond(id, ['no JSON at all']),
  'bad-prelude': (id) => respond(id, [`{"statusCode":200,${SEPARATOR}`, 'text']),
  'list-in-prelude': (id) => respond(id, [prelude({ vary: ['a', 'b'] }), 'text']),
  'large-prelude': (id) => respond(id, [prelude({ 'x-large': 'x'.repeat(20_000) }), 'text']),
  error: (id) => respond(id, ['{"errorMessage":"secret","errorType":"Test"}'], { what: 'error' }),
  'broken-before': (id) => respond(id, [prelude()], { trailers: broken }),
  'broken-after': (id) => respond(id, [prelude(), 'half'], { trailers: broken }),
  'dies-before': () => process.exit(1),
  'dies-after': (id) => respond(id, [prelude(), 'half'], { dies: true }),
};

if (process.argv[2] === 'table') {
  console.log('http://127.0.0.1:1');
  setInterval(() => {}, 1000);
} else {
  for (;;) {
    const next = await fetch(`${API}/invocation/next`);
    const event = await next.json();
    await DOES[event.rawPath.split('/').at(-1)](next.headers.get('lambda-runtime-aws-request-id'), event);
  }
}
