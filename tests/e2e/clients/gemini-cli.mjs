// Gemini CLI: signs in with `/mcp auth` in a pseudo-terminal; a session without a person lists and calls.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { model } from '../matrix/model.mjs';
import { command, inPackage } from '../matrix/product.mjs';
import { done, HOME, URL_OF_SERVER } from '../matrix/stored.mjs';

const gemini = [process.execPath, inPackage('@google/gemini-cli', 'bundle/gemini.js')];
const standIn = await model();
const env = { GEMINI_API_KEY: 'none', GOOGLE_GEMINI_BASE_URL: standIn.url, GEMINI_FORCE_FILE_STORAGE: 'true', GEMINI_CLI_TRUST_WORKSPACE: 'true', COLORTERM: 'truecolor' };
mkdirSync(join(HOME, '.gemini'), { recursive: true });
writeFileSync(join(HOME, '.gemini/settings.json'), JSON.stringify({
  mcpServers: { proxy: { httpUrl: URL_OF_SERVER, trust: true } },
  security: { auth: { selectedType: 'gemini-api-key' } }, general: { disableAutoUpdate: true }, telemetry: { enabled: false },
  privacy: { usageStatisticsEnabled: false },
}));
const session = () => command([...gemini, '-m', 'gemini-2.5-flash', '--yolo', '-p', 'Call echo.'], { env });
await session();
if (standIn.result === undefined) {
  await command([...gemini, '-i', '/mcp auth proxy'], {
    env, terminal: true, enter: /Starting OAuth authentication/, until: /Successfully (re)?authenticated|Authentication (failed|error)|Failed to authenticate/i,
  });
  await session();
  // A session can begin before its server is connected.
  if (standIn.result === undefined) await session();
}
done(standIn.tools, standIn.result);
