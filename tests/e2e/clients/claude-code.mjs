// Claude Code: signs in with `claude mcp login` in a pseudo-terminal; a session without a person lists and calls.
import { model } from '../matrix/model.mjs';
import { command, inPackage, must } from '../matrix/product.mjs';
import { done, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const claude = inPackage('@anthropic-ai/claude-code', 'bin/claude.exe');
const standIn = await model();
const env = {
  ANTHROPIC_BASE_URL: standIn.url, ANTHROPIC_API_KEY: 'none', ENABLE_TOOL_SEARCH: 'false', IS_SANDBOX: '1', MCP_CONNECTION_NONBLOCKING: '0',
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1',
};
const session = () => command([claude, '-p', 'Call echo.', '--allowedTools', 'mcp__proxy__echo'], { env });
if (!stored.added) {
  await must([claude, 'mcp', 'add', '--scope', 'user', '--transport', 'http', 'proxy', URL_OF_SERVER], { env });
  store('added', true);
  await must([claude, 'mcp', 'login', 'proxy'], { env, terminal: true });
}
await session();
if (standIn.result === undefined) {
  await must([claude, 'mcp', 'login', 'proxy'], { env, terminal: true });
  await session();
}
done(standIn.tools, standIn.result);
