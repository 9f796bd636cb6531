// For scripts that drive a product on the command line.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** A program in a package, found as Node finds modules. */
export function inPackage(name, file) {
  const require = createRequire(new URL('../clients/x.mjs', import.meta.url));
  for (const place of require.resolve.paths(name)) {
    try {
      return require.resolve(join(place, name, file));
    } catch { /* In the next folder, then. */ }
  }
  throw new Error(`${name}/${file} is not installed`);
}

const ENTER_EVERY_MS = 2_000;
const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * Runs a command and resolves to its exit code and output, which is printed too. With `terminal`, it has a
 * pseudo-terminal. `enter` is what it says before it asks a question to which the person presses Enter; `until` is what it says when it can be ended.
 */
export async function command(words, { env = {}, terminal = false, until = undefined, enter = undefined } = {}) {
  const [program, ...args] = terminal ? ['script', '-qefc', words.map(quoted).join(' '), '/dev/null'] : words;
  // A terminal as wide as any URL.
  const child = spawn(program, args, { env: { ...process.env, COLUMNS: '2000', ...env }, stdio: [terminal ? 'pipe' : 'ignore', 'pipe', 'pipe'] });
  let output = '';
  let entered = false;
  const read = (chunk) => {
    output += chunk;
    process.stderr.write(chunk);
    if (until?.test(output)) child.kill();
    if (!entered && enter?.test(output)) {
      entered = true;
      // The question can be drawn a little later; Enter at an empty prompt does nothing.
      const timer = setInterval(() => child.stdin.write('\r'), ENTER_EVERY_MS);
      child.once('exit', () => clearInterval(timer));
    }
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const code = await new Promise((resolve) => child.once('exit', resolve));
  return { code, output };
}

/** As `command`; a failure ends the script. */
export async function must(words, options) {
  const result = await command(words, options);
  if (result.code !== 0) {
    console.error(`${words.join(' ')}: exit code ${result.code}`);
    process.exit(1);
  }
  return result.output;
}
