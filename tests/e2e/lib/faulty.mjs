// An upstream that fails as it is told: the name of the called tool says how.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { PAT } from './processes.mjs';

const JSON_TYPE = { 'content-type': 'application/json' };
const result = (id) => JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } });

const KINDS = {
  ok: (_, answer, id) => answer.writeHead(200, JSON_TYPE).end(result(id)),
  async slow(_, answer, id) {
    await sleep(300);
    answer.writeHead(200, JSON_TYPE).end(result(id));
  },
  async events(_, answer, id) {
    answer.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const step of [1, 2]) {
      answer.write(`data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":${step}}}\n\n`);
      await sleep(30);
    }
    answer.end(`data: ${result(id)}\n\n`);
  },
  reset: (asked) => asked.socket.resetAndDestroy(),
  cut(asked, answer) {
    answer.writeHead(200, { ...JSON_TYPE, 'content-length': '1000' }).write('{"jsonrpc":');
    setTimeout(() => asked.socket.destroy(), 20);
  },
  busy: (_, answer) => answer.writeHead(503, { 'retry-after': '1' }).end(),
  refused: (_, answer) => answer.writeHead(403).end('no licence'),
  hang: () => {},
};

export async function faulty() {
  const open = new Set();
  const seen = new Set();
  const server = createServer(async (asked, answer) => {
    const body = [];
    for await (const chunk of asked) body.push(chunk);
    if (asked.headers.authorization !== `Bearer ${PAT}`) return answer.writeHead(401).end();
    // The warm-up of the function has no body.
    if (body.length === 0) return answer.writeHead(204).end();
    const { id, params } = JSON.parse(Buffer.concat(body));
    seen.add(id);
    open.add(answer);
    answer.on('close', () => open.delete(answer));
    // The proxy's own check at its start calls no tool.
    return (KINDS[params?.name] ?? KINDS.ok)(asked, answer, id);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/mcp`,
    /** Whether a call with this id arrived. */
    saw: (id) => seen.has(id),
    /** Calls that have no complete response yet. */
    open: () => open.size,
    closeIdle: () => server.closeIdleConnections(),
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
