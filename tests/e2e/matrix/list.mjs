// The clients of the matrix. `file` is the script that drives it; `packages` name what is tested; `short` clients are part of
// ../run. `https`: it refuses http, also on loopback. `environment`: the Python packages in clients/requirements that
// it runs with. `pinned`: in the version of ../package.json, whatever the other clients need. `differs` says for a step (on both
// hosts, or on one) why the client does not do it: then it must not, so that the reason stays true.
const REASK = 'asks the person again: after a 401 this client does not use its refresh token';
const NEVER_REFRESHES = 'asks the person again: this client does not use its refresh token';
const STORED_IN_HOME = 'fails until the stored token expires: this client does not react to a 401. Delete `~/.mcp_use/tokens`';
const NEEDS_CHALLENGE = 'asks the person again: this client refreshes a refused token only if it sees the challenge, which a Function URL '
  + 'renames; CloudFront in front of it restores the name';

/** Why a client does not do this step on this host, or undefined. */
export function reason({ differs = {} }, step, host) {
  const found = differs[step];
  return typeof found === 'object' ? found[host] : found;
}

export const CLIENTS = [
  { file: 'typescript-1.mjs', name: 'TypeScript SDK 1', packages: ['@modelcontextprotocol/sdk'], pinned: true },
  { file: 'typescript-2.mjs', name: 'TypeScript SDK 2', packages: ['@modelcontextprotocol/client'], pinned: true },
  { file: 'mcp-remote.mjs', name: 'mcp-remote', packages: ['mcp-remote'], short: true },
  { file: 'oauth4webapi.mjs', name: 'oauth4webapi', packages: ['oauth4webapi'], short: true, https: true },
  { file: 'openid-client.mjs', name: 'openid-client', packages: ['openid-client'], short: true, https: true },
  { file: 'simple-oauth2.mjs', name: 'simple-oauth2', packages: ['simple-oauth2'], short: true, https: true },
  { file: 'python-sdk.py', name: 'Python SDK', packages: ['mcp'], environment: 'requirements', differs: { 'refused token': REASK } },
  { file: 'authlib_client.py', name: 'Authlib', packages: ['Authlib'], environment: 'fastmcp', https: true },
  { file: 'fastmcp_client.py', name: 'FastMCP client', packages: ['fastmcp'], environment: 'fastmcp', differs: { 'refused token': REASK } },
  { file: 'langchain_client.py', name: 'LangChain MCP adapters', packages: ['langchain-mcp-adapters'], environment: 'langchain', differs: { 'refused token': REASK } },
  { file: 'mcp-use.py', name: 'mcp-use (Python)', packages: ['mcp-use'], environment: 'langchain', differs: { 'expired token': NEVER_REFRESHES, 'refused token': STORED_IN_HOME, revoke: STORED_IN_HOME } },
  { file: 'pydantic-ai.py', name: 'pydantic-ai', packages: ['pydantic-ai-slim'], environment: 'agents', differs: { 'refused token': REASK } },
  { file: 'openai-agents.py', name: 'openai-agents', packages: ['openai-agents'], environment: 'agents', differs: { 'refused token': REASK } },
  { file: 'inspector.mjs', name: 'MCP Inspector (command line)', packages: ['@modelcontextprotocol/inspector'] },
  { file: 'ai-sdk.mjs', name: 'AI SDK', packages: ['@ai-sdk/mcp'] },
  { file: 'mastra.mjs', name: 'Mastra', packages: ['@mastra/mcp'] },
  { file: 'claude-code.mjs', name: 'Claude Code', packages: ['@anthropic-ai/claude-code'] },
  { file: 'codex.mjs', name: 'Codex', packages: ['@openai/codex'], differs: { 'refused token': { 'Function URL': NEEDS_CHALLENGE } } },
  { file: 'opencode.mjs', name: 'OpenCode', packages: ['opencode-ai'] },
  { file: 'gemini-cli.mjs', name: 'Gemini CLI', packages: ['@google/gemini-cli'], differs: { 'refused token': REASK } },
];
