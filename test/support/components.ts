// Which real components the tests ran on: each use leaves one line in a file that the runner names and reads
// at the end. Without that file (a test started by hand) nothing is written.
import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import { getTestContext } from 'node:test';

/** What `npm run test:all` must have run tests on; a name that is missing at the end fails the run. */
export const REQUIRED_COMPONENTS = [
  'postgres 15',
  'postgres 17',
  'postgres 18',
  'pyiceberg',
  'duckdb iceberg',
  'spark',
  'trino',
  'clickhouse',
  'kafka',
  'schema registry',
  's3',
  'nessie',
] as const;

export type ComponentUse = { readonly component: string; readonly version: string; readonly test: string };

const noted = new Set<string>();

/** Notes that the running test used this component; call it where the component is used. */
export const ran = (component: string, version: string): void => {
  const file = process.env.VARVE_TEST_COMPONENTS;
  if (!file) return;
  const context = getTestContext();
  const script = relative(process.cwd(), process.argv[1] ?? '');
  const test = `${script}: ${context?.fullName ?? 'before the tests'}`;
  const line = `${JSON.stringify({ component, version, test } satisfies ComponentUse)}\n`;
  if (noted.has(line)) return;
  noted.add(line);
  // One short write in append mode does not mix with those of other processes.
  appendFileSync(file, line);
};
