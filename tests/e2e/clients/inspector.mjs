// MCP Inspector's command line: one call of it is one method.
import { inPackage, must } from '../matrix/product.mjs';
import { done, MESSAGE, URL_OF_SERVER } from '../matrix/stored.mjs';

const inspector = [process.execPath, inPackage('@modelcontextprotocol/inspector', 'clients/launcher/build/index.js'), '--cli', '--server-url', URL_OF_SERVER, '--transport', 'http'];
// No keychain is here.
const options = { terminal: true, env: { MCP_INSPECTOR_SECRET_STORE: 'file' } };
const listed = await must([...inspector, '--method', 'tools/list'], options);
const called = await must([...inspector, '--method', 'tools/call', '--tool-name', 'echo', '--tool-arg', `message=${MESSAGE}`], options);
done([...listed.matchAll(/"name": "([^"]+)"/g)].map(([, name]) => name), called);
