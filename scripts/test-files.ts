// Which test files belong to which level, by their names alone. The tidy test holds that none is left out.
import { globSync } from 'node:fs';

export type TestLevel = 'test' | 'all' | 'deep';

const isAll = (file: string): boolean => file.endsWith('.all.test.ts');
/** What finds more the longer it runs. */
const isEndless = (file: string): boolean => /^test\/(laws|fuzz|flows\/crash-)/.test(file);
const isDeep = (file: string): boolean => file.endsWith('.deep.test.ts');

/**
 * The test files of a level below `root`, sorted. `test` needs npm packages only; `all` is `test` and the
 * `*.all.test.ts`, which need more; `deep` is the same laws, fuzzers and crash loops with larger numbers, and
 * the `*.deep.test.ts`.
 */
export const testFiles = (level: TestLevel, root: string): string[] => {
  const files = globSync('test/**/*.test.ts', { cwd: root }).sort();
  if (level === 'deep') return files.filter((file) => isDeep(file) || isEndless(file));
  return files.filter((file) => !isDeep(file) && (level === 'all' || !isAll(file)));
};
