// Codex: signs in with `codex mcp login`; `codex exec` lists and calls.
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { model } from '../matrix/model.mjs';
import { command, inPackage, must } from '../matrix/product.mjs';
import { done, HOME, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const codex = [process.execPath, inPackage('@openai/codex', 'bin/codex.js')];
const standIn = await model();
const env = { STAND_IN_KEY: 'none' };
if (!stored.added) {
  mkdirSync(join(HOME, '.codex'), { recursive: true });
  appendFileSync(join(HOME, '.codex/config.toml'), 'mcp_oauth_credentials_store = "file"\n');
  await must([...codex, 'mcp', 'add', 'proxy', '--url', URL_OF_SERVER], { env, terminal: true });
  store('added', true);
}
const provider = `{name="stand-in",base_url="${standIn.url}/v1",env_key="STAND_IN_KEY",wire_api="responses"}`;
const session = () => command([...codex, 'exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox',
  '-c', `model_providers.standin=${provider}`, '-c', 'model_provider="standin"', '-m', 'gpt-5',
  // Otherwise a session begins without the tools of a server that is still connecting.
  '-c', 'mcp_servers.proxy.required=true', '-c', 'mcp_servers.proxy.startup_timeout_sec=60', 'Call echo.'], { env });
await session();
if (standIn.result === undefined) {
  await must([...codex, 'mcp', 'login', 'proxy'], { env, terminal: true });
  await session();
}
done(standIn.tools, standIn.result);
