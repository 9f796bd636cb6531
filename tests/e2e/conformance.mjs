// The conformance suite's checks of an authorization server, for every revision that it knows, with `serve`.
import { authorizationSuite, REVISIONS } from './lib/authorization.mjs';
import { run } from './lib/check.mjs';
import { everything, PAT, proxy } from './lib/processes.mjs';

await run('conformance', async (defer) => {
  const upstream = await everything();
  defer(() => upstream.stop());
  const server = await proxy(['serve', '--state', 'memory'], { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT });
  defer(() => server.stop());
  for (const revision of REVISIONS) await authorizationSuite('', revision, server, defer);
});
