// A Function URL and Lambda on loopback, as bad as AWS is reported to be: HTTP requests become events. Each instance of the
// function gets its events from its own Runtime API and responds with streams. lib/functionurl.mjs says what happens to
// requests and responses on the way. An instance handles one request at a time and is stopped between two; if all are busy,
// another is started. A response whose streamed body is empty never ends. (tests/lambda tests the other half: how the function
// talks to the Runtime API.)
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { eventOf, EVENT_LIMIT_BYTES, failed, Outgoing, throttled, tooLarge } from './functionurl.mjs';
import { endWithUs } from './processes.mjs';

const BINARY = process.env.FUNCTION_BINARY
  ?? fileURLToPath(new URL('../../../target/debug/examples/function', import.meta.url));
const PIN = 'e2ePIN2345';
const DOMAIN_NAME = 'e2e.lambda-url.eu-central-1.on.aws';
const ERROR_TYPE = 'lambda-runtime-function-error-type';
const INVOCATION = /^\/2018-06-01\/runtime\/invocation\/(?:(next)|([^/]+)\/(response|error))$/;

const DEFAULTS = {
  /** The program and its first arguments. */
  command: [BINARY],
  /** The function's timeout: the deadline that it gets, and when it is killed. */
  timeoutMs: 360_000,
  /** A client waits for the end of an empty body until the timeout. Here it is less, to save time. */
  emptyBodyHangsMs: 15_000,
  /** Account and function have a limit (ReservedConcurrentExecutions); more than that is 429. */
  mostInstances: 40,
  /** Between requests an instance is stopped (AWS, "Lambda execution environment lifecycle"). */
  freeze: true,
  /** For a comparison with a function that sends empty bodies. */
  endEmptyBodies: false,
};

/** One execution environment: a process and its own Runtime API. */
class Instance {
  /** The response to its GET for the next event, while it is waiting. */
  waiting = undefined;
  current = undefined;
  polled = false;

  constructor(lambda) {
    this.lambda = lambda;
  }

  async start(state, env) {
    this.api = createServer((asked, answer) => this.#serve(asked, answer)).listen(0, '127.0.0.1');
    await once(this.api, 'listening');
    if (this.lambda.stopping) return;
    const [program, ...first] = this.lambda.options.command;
    this.child = spawn(program, [...first, 'serve', state], {
      env: { PATH: process.env.PATH, AUTH_PIN: PIN, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${this.api.address().port}`,
        AWS_LAMBDA_FUNCTION_NAME: 'e2e', AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256', AWS_LAMBDA_FUNCTION_VERSION: '$LATEST', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    endWithUs(this.child);
    for (const output of [this.child.stdout, this.child.stderr]) output.on('data', (chunk) => { this.lambda.log += chunk; });
    this.ended = once(this.child, 'exit').then(() => {
      this.api.closeAllConnections();
      this.api.close();
      this.#over()?.outgoing.cut();
      this.lambda.gone(this);
    });
  }

  /** Sends it an event. */
  run(invocation) {
    const { options } = this.lambda;
    this.current = invocation;
    invocation.outgoing = new Outgoing(invocation.response);
    invocation.timeout = setTimeout(() => this.kill(), options.timeoutMs);
    if (options.freeze) this.child.kill('SIGCONT');
    this.waiting.writeHead(200, {
      'content-type': 'application/json',
      'lambda-runtime-aws-request-id': invocation.id,
      'lambda-runtime-deadline-ms': String(Date.now() + options.timeoutMs),
      'lambda-runtime-invoked-function-arn': 'arn:aws:lambda:eu-central-1:123456789012:function:e2e',
      'lambda-runtime-trace-id': 'Root=1-00000000-000000000000000000000000',
    }).end(invocation.event);
    this.waiting = undefined;
  }

  kill() { this.child?.kill('SIGKILL'); }

  #over() {
    const invocation = this.current;
    clearTimeout(invocation?.timeout);
    this.current = undefined;
    return invocation;
  }

  #serve(asked, answer) {
    const [, next, id, what] = asked.url.match(INVOCATION) ?? [];
    if (asked.method === 'GET' && next) this.#next(answer);
    else if (asked.method === 'POST' && id !== undefined && id === this.current?.id) this[what](asked, answer);
    else {
      this.lambda.fault(`out of turn: ${asked.method} ${asked.url}`);
      asked.resume();
      answer.writeHead(403).end();
    }
  }

  #next(answer) {
    if (this.current || this.waiting) {
      this.lambda.fault('asked for the next event while it had one');
      answer.writeHead(403).end();
      return;
    }
    this.polled = true;
    this.waiting = answer;
    this.lambda.dispatch();
    if (this.waiting && this.lambda.options.freeze) this.child.kill('SIGSTOP');
  }

  /** An error instead of a response: 502, and nothing of it reaches the client. */
  async error(asked, answer) {
    let text = '';
    for await (const chunk of asked) text += chunk;
    this.lambda.fault(`reported as failed: ${this.current.name}: ${text}`);
    this.#over().outgoing.cut();
    answer.writeHead(202).end();
  }

  response(asked, answer) {
    const { lambda, current: { outgoing, name } } = this;
    const expect = (header, value) => {
      if (asked.headers[header] !== value) lambda.fault(`${name}: ${header} is ${asked.headers[header]}`);
    };
    expect('lambda-runtime-function-response-mode', 'streaming');
    expect('transfer-encoding', 'chunked');
    expect('content-type', 'application/vnd.awslambda.http-integration-response');
    asked.on('data', (chunk) => outgoing.take(chunk));
    // If the function crashes, its exit is noticed.
    asked.on('error', () => {});
    asked.on('end', () => {
      const done = () => {
        this.#over();
        answer.writeHead(202).end();
      };
      if (outgoing.head && 'content-length' in outgoing.head.headers) lambda.fault(`${name}: a content-length in the prelude`);
      if (!outgoing.head) {
        lambda.fault(`${name}: ${outgoing.malformed ?? 'no prelude'}`);
        outgoing.cut();
        done();
      } else if (ERROR_TYPE in asked.trailers) {
        // AWS, "Building a custom runtime": the error is forwarded to the client. What a Function URL makes of it is not
        // documented. That the connection is cut is assumed; one report (aws-lambda-zig #3) saw an ordinary end.
        lambda.broken.push({ name, type: asked.trailers[ERROR_TYPE], declared: asked.headers.trailer });
        outgoing.cut();
        done();
      } else if (outgoing.bodyBytes === 0 && !lambda.options.endEmptyBodies) {
        // Reported for several runtimes, aws-lambda-web-adapter #499 with these crates: neither the client's response
        // nor the invocation ends before the timeout.
        lambda.fault(`empty body: ${name}: ${outgoing.head.statusCode}`);
        setTimeout(() => this.kill(), lambda.options.emptyBodyHangsMs).unref();
      } else {
        if (outgoing.bodyBytes === 0) outgoing.take(Buffer.from('\n'));
        outgoing.end();
        done();
      }
    });
  }
}

class Lambda {
  instances = new Set();
  queue = [];
  log = '';
  started = 0;
  requests = 0;
  faults = [];
  broken = [];
  stopping = false;

  constructor(options) {
    this.options = { ...DEFAULTS, ...options };
  }

  fault(what) { this.faults.push(what); }

  invoke(asked, response, event, id) {
    this.queue.push({ response, event, id, name: `${asked.method} ${asked.url.split('?')[0]}` });
    this.dispatch();
  }

  dispatch() {
    for (const instance of this.instances) {
      if (this.queue.length === 0) return;
      if (instance.waiting) instance.run(this.queue.shift());
    }
    const starting = [...this.instances].filter((instance) => !instance.polled).length;
    for (let missing = this.queue.length - starting; missing > 0; missing -= 1) {
      if (this.instances.size < this.options.mostInstances) this.add();
      else throttled(this.queue.pop().response);
    }
  }

  add() {
    const instance = new Instance(this);
    this.instances.add(instance);
    this.started += 1;
    instance.start(this.state, this.env).catch((error) => this.fault(`not started: ${error}`));
  }

  gone(instance) {
    this.instances.delete(instance);
    if (this.stopping) return;
    // The request for which the instance was started gets the error of its initialization.
    if (!instance.polled && this.queue.length > 0) {
      this.fault('ended during its initialization');
      failed(this.queue.shift().response);
    }
    this.dispatch();
  }

  async killAll() {
    const all = [...this.instances];
    all.forEach((instance) => instance.kill());
    await Promise.all(all.map((instance) => instance.ended));
  }
}

/** Starts the table, and the function in front of the upstream that `env` names. */
export async function lambda(env, options = {}) {
  const service = new Lambda(options);
  const [program, ...first] = service.options.command;
  const table = spawn(program, [...first, 'table'], { stdio: ['ignore', 'pipe', 'inherit'] });
  endWithUs(table);
  const [line] = await once(table.stdout, 'data');
  service.state = String(line).trim();

  const front = createServer(async (asked, response) => {
    const body = [];
    let length = 0;
    try {
      for await (const chunk of asked) {
        length += chunk.length;
        if (length <= EVENT_LIMIT_BYTES) body.push(chunk);
      }
    } catch {
      return; // The client went away.
    }
    service.requests += 1;
    const id = `00000000-0000-4000-8000-${String(service.requests).padStart(12, '0')}`;
    const event = length > EVENT_LIMIT_BYTES ? undefined : eventOf(asked, Buffer.concat(body), DOMAIN_NAME, id);
    if (event === undefined) tooLarge(response);
    else service.invoke(asked, response, event, id);
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  const origin = `http://127.0.0.1:${front.address().port}`;
  service.env = { ...env, BASE_URL: env.BASE_URL ?? origin };

  return {
    origin,
    url: `${service.env.BASE_URL}/mcp`,
    pin: PIN,
    output: () => service.log,
    instances: () => service.started,
    /** The processes that are running now. */
    processes: () => [...service.instances].map((instance) => instance.child.pid),
    /** What the function did wrong for AWS: empty bodies, errors, malformed preludes. */
    faults: () => service.faults,
    /** Streams that were reported as broken: request, error type, and the header `Trailer`. */
    broken: () => service.broken,
    /** Ends all instances, as an update of the code does; the table stays. */
    restart: () => service.killAll(),
    async stop() {
      service.stopping = true;
      front.closeAllConnections();
      front.close();
      const ended = once(table, 'exit');
      table.kill('SIGKILL');
      await Promise.all([service.killAll(), ended]);
      return 0;
    },
  };
}
