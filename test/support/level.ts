// How long a law or a crash loop may run: one number a level, chosen by the command that runs the tests.

/** Gives the number of this run's level: `npm test`, `npm run test:all` or `npm run test:deep`. */
export const atLevel = <Value>(values: {
  readonly test: Value;
  readonly all: Value;
  readonly deep: Value;
}): Value => {
  const level = process.env.VARVE_TEST_LEVEL ?? 'test';
  if (level !== 'test' && level !== 'all' && level !== 'deep') {
    throw new Error(`VARVE_TEST_LEVEL is "${level}"; it is test, all or deep.`);
  }
  return values[level];
};
