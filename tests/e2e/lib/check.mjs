// Counts checks: each prints a line; the last line is the summary, and the exit code says whether all passed.
let count = 0;
let failures = 0;
let interrupted = false;

export function check(name, ok, seen = '') {
  count += 1;
  if (!ok) failures += 1;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}${seen === '' ? '' : ` (${seen})`}`);
  return ok;
}

export function equal(name, seen, expected) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(expected)];
  return check(name, a === b, a === b ? '' : `${a} instead of ${b}`);
}

/** Progress must arrive event by event: if something buffered the events, they would arrive with the response. */
export function oneByOne(name, arrivals, answered, steps) {
  const gaps = arrivals.slice(1).map((at, index) => at - arrivals[index]);
  check(name, arrivals.length === steps && answered - arrivals[0] > 400 && gaps.every((gap) => gap > 50),
    `ms: ${arrivals.map(Math.round).join(', ')}; answer: ${Math.round(answered)}`);
}

/** A part of a file: if it ends early, that is one failed check, and the next part runs. */
export async function attempt(name, part) {
  try {
    await part();
  } catch (error) {
    if (interrupted) throw error;
    check(`${name}: runs to its end`, false, error?.stack ?? error);
  }
}

/** Runs the tests of a file, and in any case (also after a signal) ends what they started. */
export async function run(file, test, cleanups = []) {
  const signalled = new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM']) {
      process.once(signal, () => {
        interrupted = true;
        reject(new Error(`interrupted by ${signal}`));
      });
    }
  });
  try {
    await Promise.race([test((cleanup) => cleanups.push(cleanup)), signalled]);
  } catch (error) {
    check(`${file} runs to its end`, false, error?.stack ?? error);
  }
  for (const cleanup of cleanups.reverse()) {
    try {
      await cleanup();
    } catch (error) {
      check(`${file} cleans up`, false, error?.stack ?? error);
    }
  }
  console.log(`${file}: ${count} checks, ${failures} failures`);
  process.exit(failures === 0 ? 0 : 1);
}
