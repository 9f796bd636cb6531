// The conformance suite's checks of an MCP server, directly and through the proxy: the same checks must pass and fail.
import { run } from './lib/check.mjs';
import { everything, PAT, proxy, python } from './lib/processes.mjs';
import { compare } from './lib/suite.mjs';

await run('transparency', async (defer) => {
  const upstreams = {
    'server-everything': [await everything(), ['2025-11-25']],
    'Python SDK': [await python('streamable-http', 'reference_server.py'), ['2025-11-25', '2026-07-28']],
  };
  for (const [name, [upstream, revisions]] of Object.entries(upstreams)) {
    defer(() => upstream.stop());
    const through = await proxy(['serve', '--state', 'memory'], { UPSTREAM_MCP: upstream.url, UPSTREAM_TOKEN: PAT, GET_STREAMS: 'on' });
    defer(() => through.stop());
    await compare(name, upstream, through, revisions, defer);
  }
});
