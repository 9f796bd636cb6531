// A model for products that call a tool only when a model asks for it. In the interfaces of four vendors, it asks once for the
// tool "echo", and then says that it is done. It keeps what the client sent: the names of the tools, and the tool's result.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { MESSAGE } from './stored.mjs';

const ARGUMENTS = { message: MESSAGE };
const USAGE = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };

/** The tools in any of the forms: flat, below `function`, in a namespace, or below `functionDeclarations`. */
function toolsIn(tools = [], namespace = undefined) {
  return tools.flatMap((tool) => {
    if (tool.functionDeclarations) return toolsIn(tool.functionDeclarations);
    if (tool.type === 'namespace') return toolsIn(tool.tools, tool.name);
    return [{ name: tool.function?.name ?? tool.name ?? '', namespace }];
  });
}

const json = (answer, body) => answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));

/** Events of a stream: pairs of name (or undefined) and data. */
function events(answer, list) {
  answer.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const [name, data] of list) answer.write(`${name ? `event: ${name}\n` : ''}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
  answer.end();
}

function anthropic(body, tool, answer) {
  const content = tool ? { type: 'tool_use', id: 'toolu_1', name: tool.name, input: ARGUMENTS } : { type: 'text', text: 'done' };
  const stop_reason = tool ? 'tool_use' : 'end_turn';
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: body.model, content: [content], stop_reason, stop_sequence: null, usage: USAGE };
  if (!body.stream) return json(answer, message);
  const [empty, delta] = tool
    ? [{ ...content, input: {} }, { type: 'input_json_delta', partial_json: JSON.stringify(ARGUMENTS) }]
    : [{ type: 'text', text: '' }, { type: 'text_delta', text: 'done' }];
  return events(answer, [
    { type: 'message_start', message: { ...message, content: [], stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: empty },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage: USAGE },
    { type: 'message_stop' },
  ].map((event) => [event.type, event]));
}

function responses(body, tool, answer) {
  const item = tool
    ? { type: 'function_call', id: 'fc_1', call_id: 'call_1', status: 'completed', name: tool.name, namespace: tool.namespace, arguments: JSON.stringify(ARGUMENTS) }
    : { type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'done', annotations: [] }] };
  const response = { id: 'resp_1', object: 'response', model: body.model, output: [item], status: 'completed', usage: USAGE };
  return events(answer, [
    { type: 'response.created', response: { ...response, output: [], status: 'in_progress' } },
    { type: 'response.output_item.added', output_index: 0, item },
    { type: 'response.output_item.done', output_index: 0, item },
    { type: 'response.completed', response },
  ].map((event) => [event.type, event]));
}

function chat(body, tool, answer) {
  const call = { index: 0, id: 'call_1', type: 'function', function: { name: tool?.name, arguments: JSON.stringify(ARGUMENTS) } };
  const message = { role: 'assistant', ...(tool ? { content: null, tool_calls: [call] } : { content: 'done' }) };
  const finish_reason = tool ? 'tool_calls' : 'stop';
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  const common = { id: 'chat_1', created: 1, model: body.model };
  if (!body.stream) return json(answer, { ...common, object: 'chat.completion', choices: [{ index: 0, message, finish_reason }], usage });
  const chunk = (delta, reason) => [undefined, { ...common, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: reason }] }];
  return events(answer, [chunk(message, null), chunk({}, finish_reason), [undefined, '[DONE]']]);
}

function gemini(body, tool, answer, url) {
  const part = tool ? { functionCall: { name: tool.name, args: ARGUMENTS } } : { text: 'done' };
  const content = { candidates: [{ content: { role: 'model', parts: [part] }, finishReason: 'STOP', index: 0 }], usageMetadata: { totalTokenCount: 2 } };
  return url.includes('stream') ? events(answer, [[undefined, content]]) : json(answer, content);
}

const INTERFACES = [[/\/messages(\?|$)/, anthropic], [/\/responses$/, responses], [/\/chat\/completions$/, chat], [/:(stream)?[gG]enerateContent/, gemini]];

/** Listens on loopback. `result` is what the tool said, once the client has sent it. */
export async function model() {
  const self = { tools: [], result: undefined };
  const server = createServer(async (asked, answer) => {
    let text = '';
    for await (const chunk of asked) text += chunk;
    const [, respond] = INTERFACES.find(([path]) => path.test(asked.url)) ?? [];
    console.error(`model: ${asked.method} ${asked.url}, ${text.length} characters, tools: ${text.match(/"name":"[^"]*(echo|tool_search|ToolSearch)"/g)}`);
    if (!respond) return json(answer, { data: [], input_tokens: 1 });
    const body = JSON.parse(text);
    const tools = toolsIn(body.tools);
    if (tools.length > 0) self.tools = tools.map(({ name }) => name);
    const said = text.match(/Echo: [^"\\]*/)?.[0];
    self.result ??= said;
    return respond(body, said ? undefined : tools.find(({ name }) => /(^|_)echo$/.test(name)), answer, asked.url);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  self.url = `http://127.0.0.1:${server.address().port}`;
  return self;
}
