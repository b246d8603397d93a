// Holds the rules of STYLE.md over the whole project, and proves that each rule can fail. Exemptions stand
// here, each with its reason; a rule is never weakened for a file.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { testFiles } from '../scripts/test-files.ts';
import type { Source } from './support/source-scan.ts';
import * as graph from './support/tidy-graph.ts';
import * as project from './support/tidy-project.ts';
import * as rules from './support/tidy-rules.ts';

const files = project.listFiles();
const sources = project.readSources(files);

/**
 * Files whose non-null "!" on index reads are allowed: hot loops over arrays whose bounds the loop itself
 * holds.
 */
const indexedFiles: ReadonlySet<string> = new Set([
  'connectors/postgres/catalog-default.ts',
  'connectors/postgres/encode-array.ts',
  'connectors/postgres/encode-decimal.ts',
  'connectors/postgres/encode-number.ts',
  'connectors/postgres/encode-scan.ts',
  'connectors/postgres/encode-text.ts',
  'connectors/postgres/encode-zoned.ts',
  'connectors/postgres/log-reader-events.ts',
  'connectors/postgres/pgoutput-cursor.ts',
  'connectors/postgres/pgoutput.ts',
  'connectors/postgres/replication-frames.ts',
  'connectors/postgres/table.ts',
  'src/sinks/parquet/columns-value.ts',
  'src/sinks/parquet/engine/barriers.ts',
  'src/sinks/parquet/engine/database.ts',
  'src/sinks/parquet/engine/dead-records.ts',
  'src/sinks/parquet/engine/event-stage.ts',
  'src/sinks/parquet/engine/fresh-rows.ts',
  'src/sinks/parquet/engine/live-files.ts',
  'src/sinks/parquet/engine/order-reader.ts',
  'src/sinks/parquet/engine/query.ts',
  'src/sinks/parquet/engine/row-store.ts',
  'src/sinks/parquet/engine/ruled-events.ts',
  'src/sinks/parquet/engine/state-marks.ts',
  'src/sinks/parquet/engine/state-writer.ts',
  'src/sinks/parquet/engine/stored-rows.ts',
  'src/sinks/parquet/iceberg/bucket.ts',
  'src/sinks/parquet/iceberg/single-value.ts',
  'src/topic/avro-cursor.ts',
  'src/topic/avro-read.ts',
  'src/topic/byte-writer.ts',
  'src/topic/crc32c.ts',
  'src/topic/envelope-change.ts',
  'src/topic/envelope-row.ts',
  'src/topic/lz4.ts',
  'src/topic/match-finder.ts',
  'src/topic/murmur2.ts',
  'src/topic/record-batch-view.ts',
  'src/topic/snappy.ts',
]);

/** Violations that stand, as "path: what", each with its reason. */
const exemptions: ReadonlyMap<string, string> = new Map([
  [
    'scripts/count-reporter.mjs: line 4: a default export',
    'node --test takes a reporter by its default export',
  ],
]);

const report = (violations: readonly rules.Violation[]): void => {
  const all = violations.map(({ path, what }) => `${path}: ${what}`);
  const lines = all.filter((line) => !exemptions.has(line));
  assert.ok(lines.length === 0, `${lines.length} violations\n${lines.join('\n')}`);
};
const hold = (name: string, violations: () => rules.Violation[]): void => {
  test(name, () => {
    report(violations());
  });
};
const each = (rule: (source: Source) => rules.Violation[]) => (): rules.Violation[] => sources.flatMap(rule);

hold('files, lines and import lists are short', each(rules.checkSize));
hold('functions are short and take few positional parameters', each(rules.checkFunctions));
hold('no forbidden construct, no postponed thought, no skipped test', each(rules.checkConstructs));
hold('non-null "!" stands only on index reads of listed files', () =>
  sources.flatMap((source) => rules.checkNonNull(source, indexedFiles)),
);
hold('every file opens with what it owns', each(rules.checkHeader));
hold('names are kebab-case and say something', () => files.flatMap(rules.checkName));
hold('pure rooms are pure', each(rules.checkPurity));
hold('src/ names no database', () =>
  sources.filter(({ path }) => path !== 'src/main.ts').flatMap(rules.checkDatabaseWords),
);
hold('imports point downward and never to a sibling', () => graph.checkFloors(sources));
hold('no import cycle', () => graph.checkCycles(sources));
hold('no barrel', () => graph.checkBarrels(sources));
hold('no dead export', () => graph.checkDeadExports(sources));
hold('the product imports only declared dependencies', () => {
  const manifest = JSON.parse(project.readText('package.json')) as { dependencies: Record<string, string> };
  return graph.checkPackages(sources, Object.keys(manifest.dependencies));
});
hold('no machine path and no registry host', () =>
  files.flatMap((path) => rules.checkForeign(path, project.readText(path))),
);
hold('CHANGELOG.md is in form', () =>
  existsSync(join(project.projectRoot, 'CHANGELOG.md'))
    ? rules.checkChangelog('CHANGELOG.md', project.readText('CHANGELOG.md'))
    : [{ path: 'CHANGELOG.md', what: 'is missing' }],
);
hold('every test file belongs to a level that a command runs', () => {
  const run = new Set((['all', 'deep'] as const).flatMap((level) => testFiles(level, project.projectRoot)));
  const written = files.filter(
    (path) => /\.test\.[cm]?[jt]s$/.test(path) || /(?:^|\/)test-[^/]*\.mjs$/.test(path),
  );
  return written.filter((path) => !run.has(path)).map((path) => ({ path, what: 'no command runs it' }));
});
test('every error kind is thrown and tested', async () => {
  const { ERROR_KINDS } = (await import('../src/errors.ts')) as { ERROR_KINDS: Record<string, string> };
  report(project.checkErrorKinds(Object.keys(ERROR_KINDS), sources));
});
test('every configuration key is documented', async () => {
  const { jsonSchema } = await import('../src/config.ts');
  const options = files.filter((path) => /^connectors\/[^/]+\/options\.ts$/.test(path));
  assert.ok(options.length > 0, 'no connector has an options.ts');
  const schemas: z.ZodType<unknown>[] = [];
  for (const path of options) {
    const exported = Object.values((await import(`../${path}`)) as Record<string, unknown>);
    const found = exported.filter((value) => value instanceof z.ZodType);
    assert.ok(found.length > 0, `${path} exports no schema`);
    schemas.push(...found);
  }
  const documents = files.filter((path) =>
    /^(?:README\.md|docs\/.*\.md|connectors\/[^/]+\/README\.md)$/.test(path),
  );
  const keys = project.schemaKeys(jsonSchema(schemas) as Record<string, unknown>);
  assert.ok(keys.includes('topic.path'), 'the schema has lost its keys');
  report(project.checkDocumentedKeys(keys, documents.map(project.readText)));
});
test('no exemption is left over', () => {
  const indexing = sources.filter((source) => rules.checkNonNull(source, new Set()).length > 0);
  const needed = new Set(indexing.map(({ path }) => path));
  assert.deepEqual(
    [...indexedFiles].filter((path) => !needed.has(path)),
    [],
  );
  const all = [rules.checkSize, rules.checkFunctions, rules.checkConstructs].flatMap((rule) =>
    sources.flatMap(rule),
  );
  const lines = new Set(all.map(({ path, what }) => `${path}: ${what}`));
  assert.deepEqual(
    [...exemptions.keys()].filter((line) => !lines.has(line)),
    [],
  );
});
