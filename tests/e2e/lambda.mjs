// The same clients, suites and browser with the Lambda host, behind a Function URL that behaves as badly as AWS is reported to
// (lib/function.mjs).
import { authorizationSuite, REVISIONS } from './lib/authorization.mjs';
import { attempt, check, equal, run } from './lib/check.mjs';
import { consentInBrowser } from './lib/consent.mjs';
import { lambda } from './lib/function.mjs';
import { journey, SDKS } from './lib/journey.mjs';
import { everything, PAT, python } from './lib/processes.mjs';
import { pythonClient } from './lib/python.mjs';
import { compare } from './lib/suite.mjs';

await run('lambda', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const server = await lambda({ UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT });
  defer(() => server.stop());
  for (const [name, sdk] of Object.entries(SDKS)) await attempt(`Lambda, ${name}`, () => journey(`Lambda, ${name}`, sdk, server));
  await attempt('Lambda, Python SDK', () => pythonClient('Lambda, Python SDK', server, defer));
  await attempt('Lambda, browser', () => consentInBrowser('Lambda, browser: ', server, 13, defer));
  for (const revision of REVISIONS) {
    await attempt('Lambda, suite', () => authorizationSuite('Lambda, ', revision, server, defer));
  }

  const reference = await python('streamable-http', 'reference_server.py');
  defer(() => reference.stop());
  const through = await lambda({ UPSTREAM_MCP: reference.url, UPSTREAM_TOKEN: PAT, GET_STREAMS: 'on' });
  defer(() => through.stop());
  await attempt('Lambda, Python SDK', () => compare('Lambda, Python SDK', reference, through, ['2025-11-25', '2026-07-28'], defer));
  check('Lambda: more than one instance took part', server.instances() + through.instances() > 2, `${server.instances()} and ${through.instances()}`);
  equal('Lambda: nothing that AWS punishes', [...new Set([...server.faults(), ...through.faults()])], []);
});
