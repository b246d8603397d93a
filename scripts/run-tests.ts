// Runs the test files of one level and decides what a good run is: no failure, no skip, no file without
// tests, and at level `all` every component of the list used. Knows no test.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ComponentUse, REQUIRED_COMPONENTS } from '../test/support/components.ts';
import { ensureKafka } from '../test/support/kafka-install.ts';
import { ensurePyIceberg, ensureSpark } from '../test/support/readers.ts';
import { ensureRegistry } from '../test/support/schema-registry.ts';
import { type TestLevel, testFiles } from './test-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
/** A test that takes longer than this hangs. */
const TIMEOUT_MIN: Record<TestLevel, number> = { test: 5, all: 30, deep: 24 * 60 };

/**
 * Gives the exit code. `only` names files to run instead of the whole level; the component list is then not
 * held.
 */
export const runTests = async (level: TestLevel, only: readonly string[]): Promise<number> => {
  const files = only.length > 0 ? only : testFiles(level, root);
  if (files.length === 0) return complain([`No test file belongs to level "${level}": 0 tests ran.`]);
  if (level === 'all' && only.length === 0) {
    // Before the tests, so that parallel test files do not install the same thing twice.
    await ensurePyIceberg();
    await ensureSpark();
    await ensureKafka();
    await ensureRegistry();
  }
  const folder = mkdtempSync(join(tmpdir(), 'varve-run-'));
  const record = { components: join(folder, 'components'), counts: join(folder, 'counts') };
  writeFileSync(record.components, '');
  writeFileSync(record.counts, '');
  try {
    const code = await runNodeTest(files, level, record);
    const faults = [...countFaults(files, readLines(record.counts))];
    const uses = readLines<ComponentUse>(record.components);
    if (level === 'all') faults.push(...reportComponents(uses, only.length === 0));
    return Math.max(code, complain(faults));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

type RunRecord = { readonly components: string; readonly counts: string };
type FileCount = { file: string; tests: number; passed: number; skipped: number; todo: number };

const runNodeTest = (files: readonly string[], level: TestLevel, record: RunRecord): Promise<number> => {
  const reporters = [
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=./scripts/count-reporter.mjs',
    `--test-reporter-destination=${record.counts}`,
  ];
  // One file more than there are processors, because a test often waits for a server.
  const limits = [
    `--test-concurrency=${availableParallelism() + 1}`,
    `--test-timeout=${TIMEOUT_MIN[level] * 60_000}`,
  ];
  const child = spawn(process.execPath, ['--test', ...limits, ...reporters, ...files], {
    cwd: root,
    stdio: 'inherit',
    env: {
      // Tests start the command hundreds of times; most of what that takes is compiling the same files.
      NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/compiled'),
      ...process.env,
      VARVE_TEST_LEVEL: level,
      VARVE_TEST_COMPONENTS: record.components,
    },
  });
  const pass = (): boolean => child.kill('SIGTERM');
  process.once('SIGTERM', pass);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => {
      process.off('SIGTERM', pass);
      resolve(code ?? 1);
    });
  });
};

const readLines = <Line>(file: string): Line[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);

/** A file that ran no test, and a test that was skipped, look like success and are none. */
const countFaults = (files: readonly string[], counts: readonly FileCount[]): string[] => {
  const faults: string[] = [];
  for (const file of files) {
    const count = counts.find((entry) => entry.file.endsWith(file));
    if (!count || count.tests === 0) faults.push(`${file}: 0 tests ran.`);
    else if (count.skipped + count.todo > 0)
      faults.push(`${file}: ${count.skipped + count.todo} skipped or to do.`);
  }
  return faults;
};

const reportComponents = (uses: readonly ComponentUse[], complete: boolean): string[] => {
  const names = new Set([...REQUIRED_COMPONENTS, ...uses.map((use) => use.component)]);
  const rows = [...names].map((name) => {
    const mine = uses.filter((use) => use.component === name);
    const versions = [...new Set(mine.map((use) => use.version))].join(', ');
    return { name, versions, tests: new Set(mine.map((use) => use.test)).size };
  });
  console.log('\nComponents that tests ran on:');
  for (const row of [{ name: 'node', versions: process.versions.node, tests: 'all' }, ...rows]) {
    console.log(`  ${row.name.padEnd(16)}${row.versions.padEnd(28)}${row.tests} tests`);
  }
  const missing = rows.filter((row) => row.tests === 0);
  return complete ? missing.map((row) => `No test ran on ${row.name}.`) : [];
};

const complain = (faults: readonly string[]): number => {
  for (const fault of faults) console.error(`FAILED ${fault}`);
  return faults.length === 0 ? 0 : 1;
};
