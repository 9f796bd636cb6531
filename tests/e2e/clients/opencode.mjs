// OpenCode: signs in with `opencode mcp auth`; `opencode run` lists and calls.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { model } from '../matrix/model.mjs';
import { command, inPackage, must } from '../matrix/product.mjs';
import { done, HOME, store, stored, URL_OF_SERVER } from '../matrix/stored.mjs';

const opencode = inPackage('opencode-linux-x64', 'bin/opencode');
const standIn = await model();
const env = { OPENCODE_DISABLE_AUTOUPDATE: '1', OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_DISABLE_LSP_DOWNLOAD: '1' };
mkdirSync(join(HOME, '.config/opencode'), { recursive: true });
writeFileSync(join(HOME, '.config/opencode/opencode.json'), JSON.stringify({
  mcp: { proxy: { type: 'remote', url: URL_OF_SERVER } },
  model: 'standin/m', small_model: 'standin/m', autoupdate: false, share: 'disabled',
  provider: { standin: { npm: '@ai-sdk/openai-compatible', options: { baseURL: `${standIn.url}/v1`, apiKey: 'none' }, models: { m: { name: 'm', tool_call: true } } } },
}));
const signIn = () => must([opencode, 'mcp', 'auth', 'proxy'], { env, terminal: true });
const session = () => command([opencode, 'run', 'Call echo.'], { env });
if (!stored.added) {
  await signIn();
  store('added', true);
}
await session();
if (standIn.result === undefined) {
  await signIn();
  await session();
}
done(standIn.tools, standIn.result);
