// The viewer-request function of infra/edge.yaml, compared with the program over a table of requests: if it responds, the
// response is the program's, byte for byte; if it does not, the request is forwarded unchanged.
import { once } from 'node:events';
import { connect } from 'node:net';
import { check, equal, run } from './lib/check.mjs';
import { LARGEST_FUNCTION_BYTES, source, viewerRequest, viewerRequestEvent } from './lib/edge.mjs';
import { proxy } from './lib/processes.mjs';

const DISTRIBUTION = 'd111111abcdef8.cloudfront.net';
const DOMAIN = 'mcp.example.com';
const ADDRESS = '203.0.113.9';
// These are set by the server that sends the response, not by the code that creates it.
const OF_THE_CONNECTION = ['connection', 'content-length', 'date'];

const BROWSER = ['Accept', 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8'];
const MCP_CLIENT = ['Accept', 'application/json, text/event-stream'];
const TOKEN = ['Authorization', 'Bearer mcp_at_whatever'];
const SSE = { UpstreamTransport: 'sse' };
const LONGEST_LABEL = 'a'.repeat(64);

// Method, path, other headers: the response is the challenge.
const CHALLENGED = [
  ['POST', '/mcp'], ['POST', '/mcp/'], ['POST', '/'], ['POST', '/mcp-2'], ['POST', '/mcp-home/'], ['POST', '/mcp-A_b-1'],
  ['POST', '/mcp/x/repos'], ['POST', '/mcp-work/x/repos/readonly'], ['POST', '/mcp/x/'], ['POST', `/mcp-${LONGEST_LABEL}`],
  ['POST', '/mcp?session=1'], ['POST', '/?a=b'], ['POST', '/mcp/caf%C3%A9'], ["POST", "/mcp/~!$&'()*+,;=:@[]"],
  ['POST', '/mcp/...'], ['POST', '/mcp/.hidden'], ['POST', '/mcp/well-known/x'], ['POST', '/mcp/x.well-known/y'],
  ['GET', '/mcp'], ['GET', '/'], ['GET', '/', [MCP_CLIENT]], ['HEAD', '/mcp'], ['HEAD', '/'],
  ['POST', '/', [BROWSER]], ['DELETE', '/mcp'], ['PUT', '/mcp'], ['PATCH', '/mcp'],
  ['POST', '/mcp', [['Authorization', 'Basic YWxhZGRpbjpvcGVuc2VzYW1l']]], ['POST', '/mcp', [['Authorization', '']]],
  ['POST', '/mcp', [['Authorization', 'mcp_at_whatever']]], ['POST', '/mcp', [['Authorization', 'BearerX mcp_at_whatever']]],
  ['GET', '/', [BROWSER, ['Authorization', 'Basic YTpi']]], ['POST', '/mcp', [['Origin', 'https://app.example.com']]],
  ['POST', '/mcp', [['Cookie', 'authorization=Bearer x']]], ['POST', '/mcp?access_token=mcp_at_whatever'],
  // Spellings that clients and people use.
  ['POST', '//mcp'], ['POST', '///mcp//'], ['POST', '/mcp//'], ['POST', '/MCP'], ['POST', '/Mcp/'], ['POST', '//mCP-home/x'],
  ['POST', '//'], ['GET', '//'], ['POST', '/mcp//x'], ['POST', '/mcp/x//y/'], ['POST', '/MCP/x/MCP'],
];
// The request is forwarded to the program.
const PASSED = [
  ['OPTIONS', '/mcp'], ['OPTIONS', '/'], ['OPTIONS', '/mcp/x'],
  ['POST', '/mcp', [TOKEN]], ['GET', '/mcp', [TOKEN]], ['POST', '/mcp', [['Authorization', 'bEARER x']]],
  ['POST', '/mcp', [['Authorization', 'Bearer']]], ['POST', '/mcp', [['Authorization', 'Bearer a b']]],
  ['POST', '/mcp', [TOKEN, ['Authorization', 'Basic YTpi']]], ['POST', '/mcp', [['Authorization', 'Basic YTpi'], TOKEN]],
  ['GET', '/mcp', [BROWSER]], ['HEAD', '/mcp', [BROWSER]], ['GET', '/', [BROWSER]], ['GET', '/', [MCP_CLIENT, BROWSER]], ['GET', '/?a', [BROWSER]],
  ['GET', '/.well-known/oauth-protected-resource'], ['GET', '/.well-known/oauth-protected-resource/mcp'],
  ['GET', '/.well-known/oauth-authorization-server/mcp'], ['POST', '/.well-known/oauth-protected-resource/mcp'],
  ['GET', '/mcp/.well-known/openid-configuration'], ['GET', '/mcp-home/.well-known/openid-configuration'], ['GET', '/favicon.ico'],
  ['GET', '/authorize'], ['POST', '/token'], ['POST', '/register'], ['POST', '/revoke'], ['GET', '/connections'], ['GET', '/other'],
  ['POST', '/mcpx'], ['POST', '/mcp-'], ['POST', '/mcp-a.b'], ['POST', '/mcp-%41'], ['POST', `/mcp-${LONGEST_LABEL}a`],
  ['POST', '/x/mcp'], ['POST', '/mcp/..'], ['POST', '/mcp/../x'], ['POST', '/mcp/./x'], ['POST', '/mcp/..;/x'], ['POST', '/mcp/%2e%2e/x'],
  ['POST', '/mcp/x%2Fy'], ['POST', '/mcp/%252e'], ['POST', '/mcp/%5c..'], ['POST', '/mcp/%00'], ['POST', '/mcp/%0d%0aset-cookie:x'],
  ['POST', '/mcp/%7f'], ['POST', '/mcp/%'], ['POST', '/mcp/%zz'], ['POST', '/mcp/%C'], ['POST', '/mcp/..\\x'], ['POST', '/mcp/",scope="x'],
  ['POST', '/mcp/<x>'], ['POST', '/mcp/{x}'], ['POST', '/mcp/x|y'], ['POST', '/mcp/^`'], ['POST', '/sse'], ['GET', '/sse'],
  ['HEAD', '/', [BROWSER]], ['GET', '//', [BROWSER]], ['GET', '/mcp/.well-known/oauth-protected-resource'],
  ['GET', '//mcp/.well-known/oauth-protected-resource'], ['GET', '/MCP/.well-known/oauth-authorization-server'],
  ['GET', '/mcp/.well-known/oauth-authorization-server'], ['GET', '/mcp/.well-known/x'], ['POST', '/mcp/.well-known'],
  ['GET', '/mcp/x/.well-known/y'], ['POST', '/mcp//../x'], ['POST', '/x//mcp'],
];
// For an upstream with HTTP+SSE; `true` means the challenge.
const WITH_SSE = [
  ['GET', '/sse', [], true], ['POST', '/sse', [], true], ['GET', '/mcp', [], true], ['GET', '/sse', [TOKEN], false],
  ['OPTIONS', '/sse', [], false], ['GET', '/sse/', [], false], ['GET', '/sse/x', [], false], ['GET', '/ssee', [], false],
  ['GET', '/SSE', [], true], ['GET', '//sse', [], true],
];
// CloudFront may forward what no HTTP library sends; the function must not write it into a header.
const HOSTILE = ['/mcp/\r\nx: y', '/mcp/ x', '/mcp/caf\u00e9', '/mcp/\u0000', '/mcp/\u2028', '/mcp/#x', '/mcp/?x', '', 'mcp'];

/** Paths made of pieces that mean something to one of the two sides; the same paths in every run. */
function* generatedPaths(count) {
  const pieces = ['mcp', 'MCP', 'mcp-2', 'mcp-', 'mcpx', 'sse', 'x', '', '', '.', '..', '..;', '.well-known', 'oauth-protected-resource',
    'openid-configuration', '%2e', '%2F', '%41', '%', '%25', '~!$&', 'a"b', 'authorize', ';'];
  let state = 20_261_123;
  const below = (limit) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * limit);
  };
  for (let made = 0; made < count; made += 1) {
    // Half of them begin like the endpoint.
    const begin = below(2) === 0 ? ['', 'mcp'] : [''];
    yield [...begin, ...Array.from({ length: 1 + below(4) }, () => pieces[below(pieces.length)])].join('/');
  }
}

/** One request over a socket, exactly as written. */
async function ask(origin, method, path, headers) {
  const { hostname, port } = new URL(origin);
  const socket = connect(Number(port), hostname);
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${DISTRIBUTION}`, 'Connection: close', 'Content-Length: 0'];
  socket.write(`${[...lines, ...headers.map((pair) => pair.join(': '))].join('\r\n')}\r\n\r\n`);
  const chunks = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  await once(socket, 'close');
  const text = Buffer.concat(chunks).toString('latin1');
  const at = text.indexOf('\r\n\r\n');
  const [first, ...fields] = text.slice(0, at).split('\r\n');
  return {
    status: Number(first.split(' ')[1]),
    headers: fields.map((field) => field.split(/: ?(.*)/s).slice(0, 2)),
    body: Buffer.from(text.slice(at + 4), 'latin1'),
  };
}

const named = ([method, path, headers = []]) => [method, path, ...headers.map((pair) => pair.join(': '))].join(' ');
const worded = (headers) => headers.filter(([name]) => !OF_THE_CONNECTION.includes(name.toLowerCase())).sort();

/** What the function returns for a request, and whether it is a response. */
function edge(handler, [method, path, headers = []], uri = path.split('?')[0]) {
  const event = viewerRequestEvent({ method, path: uri, headers: [['Host', DISTRIBUTION], ...headers], address: ADDRESS, distribution: DISTRIBUTION });
  const result = handler(event);
  return { event, result, answered: result.statusCode !== undefined };
}

/** The function's response is the program's. */
async function same(origin, handler, row) {
  const [method, path, headers = []] = row;
  const { result, answered } = edge(handler, row);
  const program = await ask(origin, method, path, headers);
  const mine = {
    status: result.statusCode,
    headers: worded(Object.entries(result.headers ?? {}).map(([name, { value }]) => [name, value])),
    body: result.body?.data ?? '',
  };
  const theirs = { status: program.status, headers: worded(program.headers), body: program.body.toString() };
  equal(`${named(row)}: what the program answers`, answered ? mine : 'passed on', theirs);
}

/** The request is forwarded, with the viewer's address and no other change, and the program's response is not the edge's challenge. */
async function passes(origin, handler, row) {
  const [method, path, headers = []] = row;
  const { event, result, answered } = edge(handler, row);
  const expected = structuredClone(event.request);
  expected.headers['true-client-ip'] = { value: ADDRESS };
  const name = `${named(row)}: goes on`;
  if (!check(name, !answered && JSON.stringify(result) === JSON.stringify(expected), answered ? JSON.stringify(result) : '')) return;
  const program = await ask(origin, method, path, headers);
  const challenge = program.headers.find(([field]) => field === 'www-authenticate')?.[1] ?? '';
  const isPage = program.headers.some(([field, value]) => field === 'content-type' && value.startsWith('text/html'));
  check(`${name}, and the program has its own answer`, program.status !== 401 || isPage || challenge.includes('error="invalid_token"'), `${program.status}`);
}

await run('edge', async (defer) => {
  const started = async (BASE_URL, UPSTREAM_TRANSPORT) => {
    // There is no upstream: a request without a token does not get that far.
    const env = { UPSTREAM_MCP: 'http://127.0.0.1:9/mcp', UPSTREAM_TOKEN: 'unused', UPSTREAM_TRANSPORT, BASE_URL };
    const server = await proxy(['serve', '--state', 'memory'], env);
    defer(() => server.stop());
    return `http://127.0.0.1:${server.port}`;
  };
  const program = await started(`https://${DISTRIBUTION}`, 'streamable-http');
  const handler = viewerRequest();
  for (const row of CHALLENGED) await same(program, handler, row);
  for (const row of PASSED) await passes(program, handler, row);
  const differing = [];
  let challenged = 0;
  for (const path of generatedPaths(600)) {
    const { answered } = edge(handler, ['POST', path]);
    const { status } = await ask(program, 'POST', path, []);
    if (answered) challenged += 1;
    if (answered !== (status === 401)) differing.push(`${path}: ${status}`);
  }
  equal('of generated paths, the function challenges those that the program does', differing, []);
  check('some are challenged, and some are not', challenged > 100 && challenged < 500, `${challenged} of 600`);

  const sse = await started(`https://${DISTRIBUTION}`, 'sse');
  for (const [method, path, headers, challenged] of WITH_SSE) {
    await (challenged ? same : passes)(sse, viewerRequest(SSE), [method, path, headers]);
  }

  const own = await started(`https://${DOMAIN}`, 'streamable-http');
  for (const row of [['POST', '/mcp'], ['POST', '/'], ['POST', '/mcp-2/x']]) await same(own, viewerRequest({ DomainName: DOMAIN }), row);

  for (const path of HOSTILE) {
    const { result } = edge(handler, ['POST', path], path);
    check(`${JSON.stringify(path)} is written into no header`, result.statusCode === undefined, JSON.stringify(result.headers?.['www-authenticate'] ?? ''));
  }
  for (const address of ['203.0.113.9', '2001:db8::1']) {
    const event = viewerRequestEvent({
      method: 'POST', path: '/token', address, distribution: DISTRIBUTION,
      headers: [['True-Client-IP', '192.0.2.1'], ['true-client-ip', '192.0.2.2'], ['X-Origin-Secret', 'guessed'], ['X-Forwarded-For', '192.0.2.3']],
    });
    const { headers } = handler(event);
    equal(`${address}: the viewer's address replaces what the client says`, headers['true-client-ip'], { value: address });
    equal(`${address}: the client's origin secret does not go on`, headers['x-origin-secret'], undefined);
    equal(`${address}: other headers do`, headers['x-forwarded-for'], { value: '192.0.2.3' });
  }
  const size = Buffer.byteLength(source({ DomainName: `${'a'.repeat(249)}.com`, UpstreamTransport: 'streamable-http' }));
  check('the function is not larger than AWS allows', size <= LARGEST_FUNCTION_BYTES, `${size} bytes`);
});
