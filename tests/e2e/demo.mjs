// The demo, with the TypeScript SDK: everything it offers, and its progress event by event.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { check, equal, oneByOne, run } from './lib/check.mjs';
import { proxy } from './lib/processes.mjs';
import { Provider } from './lib/provider.mjs';

await run('demo', async (defer) => {
  const demo = await proxy(['demo']);
  defer(() => demo.stop());
  const provider = new Provider(demo.pin);
  const transport = () => new StreamableHTTPClientTransport(new URL(demo.url), { authProvider: provider });
  const client = new Client({ name: 'e2e', version: '1' });
  const first = transport();
  await client.connect(first).catch(() => first.finishAuth(provider.landed.searchParams.get('code')));
  await client.connect(transport());

  const { tools } = await client.listTools();
  equal('its tools', tools.map((tool) => tool.name).sort(), ['add', 'count', 'echo', 'fail', 'whoami']);
  const call = async (name, args = {}, options) => client.callTool({ name, arguments: args }, undefined, options);
  equal('echo', (await call('echo', { text: 'grüß dich' })).content[0].text, 'grüß dich');
  equal('add', (await call('add', { a: 2, b: 40 })).content[0].text, '42');
  equal('fail', (await call('fail')).isError, true);
  check('whoami', (await call('whoami')).content[0].text.includes("demo's own access token"));
  const { resources } = await client.listResources();
  const { contents } = await client.readResource({ uri: resources[0].uri });
  check('its resource', contents[0].text.includes('Welcome'));
  const { messages } = await client.getPrompt({ name: 'greet', arguments: { name: 'Ada' } });
  check('its prompt', messages[0].content.text.includes('Ada'));

  const begin = performance.now();
  const arrivals = [];
  const counted = await call('count', { steps: 5, interval_ms: 200 }, {
    onprogress: () => arrivals.push(performance.now() - begin),
  });
  const answered = performance.now() - begin;
  equal('count', counted.content[0].text, 'Counted to 5.');
  oneByOne('every step is reported as it happens', arrivals, answered, 5);
  await client.close();
});
