// Counting checks: each prints a line; the last line is the summary, and the exit code says whether all held.
let count = 0;
let failures = 0;

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

/** Runs the tests of a file, and whatever happens ends what they started. */
export async function run(file, test, cleanups = []) {
  try {
    await test((cleanup) => cleanups.push(cleanup));
  } catch (error) {
    check(`${file} runs to its end`, false, error?.stack ?? error);
  }
  for (const cleanup of cleanups.reverse()) await cleanup();
  console.log(`${file}: ${count} checks, ${failures} failures`);
  process.exit(failures === 0 ? 0 : 1);
}
