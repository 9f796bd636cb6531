// The viewer-request function of infra/edge.yaml as CloudFront runs it: without any API except the language itself.
import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';

const TEMPLATE = readFileSync(new URL('../../../infra/edge.yaml', import.meta.url), 'utf8');
// What AWS allows (CloudFront Developer Guide, "Quotas on CloudFront Functions").
export const LARGEST_FUNCTION_BYTES = 10 * 1024;

/** The source, with these values instead of the template's parameters. */
export function source(parameters = {}) {
  const values = { DomainName: '', UpstreamTransport: 'streamable-http', ...parameters };
  const lines = TEMPLATE.split('\n');
  const begin = lines.findIndex((line) => /^ {6}FunctionCode: !Sub \|$/.test(line)) + 1;
  const end = lines.findIndex((line, index) => index >= begin && line !== '' && !line.startsWith(' '.repeat(8)));
  if (begin === 0 || end < 0) throw new Error('infra/edge.yaml has no FunctionCode');
  const code = lines.slice(begin, end).map((line) => line.slice(8)).join('\n');
  return code.replace(/\$\{(\w+)\}/g, (_, name) => {
    if (!(name in values)) throw new Error(`FunctionCode names ${name}, which is no parameter here`);
    return values[name];
  });
}

/** The function: an event in, a request or a response out. */
export function viewerRequest(parameters) {
  const context = createContext(Object.create(null), { codeGeneration: { strings: false, wasm: false } });
  runInContext(source(parameters), context);
  // As JSON in both directions, as between CloudFront and the function's engine.
  return (event) => JSON.parse(runInContext(`JSON.stringify(handler(${JSON.stringify(event)}))`, context, { timeout: 1000 }));
}

/** Headers as in the event: names in lower case, repeated ones with each value. `pairs` is [[name, value]]. */
export function eventHeaders(pairs) {
  const headers = {};
  for (const [name, value] of pairs) {
    const key = name.toLowerCase();
    if (headers[key] === undefined) headers[key] = { value };
    else headers[key].multiValue = [...(headers[key].multiValue ?? [{ value: headers[key].value }]), { value }];
  }
  return headers;
}

/** The event of a request. */
export function viewerRequestEvent({ method, path, headers, address, distribution }) {
  return {
    version: '1.0',
    context: { distributionDomainName: distribution, distributionId: 'EDFDVBD6EXAMPLE', eventType: 'viewer-request', requestId: 'e2e' },
    viewer: { ip: address },
    request: { method, uri: path, querystring: {}, headers: eventHeaders(headers), cookies: {} },
  };
}
