// Owns running SQL scripts, recorded cases above all, as they were recorded: the same database name, the
// same statements, `varve run` once for the snapshot and once for the changes, then reading all that stands
// on the topics. Expects nothing.
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { connector } from '../../connectors/postgres/connector.ts';
import type { Output } from '../../src/cli/output.ts';
import { run } from '../../src/cli/run.ts';
import { embeddedTopic } from '../../src/cli/topic-embedded.ts';
import type { DecodedRecord } from './golden.ts';
import { readTopics } from './golden-topics.ts';
import type { TestPostgres } from './postgres.ts';

/** Where `;` stands outside of quotes, as psql splits a file. */
const STATEMENT = /(?:'[^']*'|"[^"]*"|[^;'"])+/g;

/** In order; each is a request of its own, so each commits by itself. */
const statements = (script: string): string[] =>
  (script.match(STATEMENT) ?? []).filter((sql) => sql.trim() !== '');

export type GoldenOptions = {
  mode?: 'initial' | 'never';
  onRewrite?: 'stop' | 'ignore';
  /** `never`: a publication of all tables is there before, as it was for the recording. */
  publication?: 'auto' | 'never';
  /** Tables that are captured; all if absent. */
  tables?: readonly string[];
  /** The pipeline file's `topic.format`. */
  format?: Readonly<Record<string, unknown>>;
  /** Its `columns`. */
  columns?: Readonly<Record<string, unknown>>;
  /** Catches up after every statement, not after all of them. */
  stepwise?: boolean;
};

/** JSON is YAML. One reader, so that the snapshot's rows have one order. */
const pipelineFile = (url: string, options: GoldenOptions): string => {
  const { mode, onRewrite, publication, tables = ['*.*'], format = {}, columns = {} } = options;
  return JSON.stringify({
    name: 'golden',
    source: {
      kind: 'postgres',
      url,
      tables,
      publication: { create: publication ?? 'auto' },
      on_rewrite: onRewrite ?? 'stop',
    },
    topic: { path: './topic', format },
    columns,
    snapshot: { mode: mode ?? 'initial', parallel: 1 },
    log: { level: 'error' },
  });
};

const asIs = (text: string): string => text;
const nothing = (): void => undefined;
const silent: Output = {
  json: false,
  tty: false,
  result: nothing,
  table: nothing,
  note: nothing,
  progress: nothing,
  good: asIs,
  bad: asIs,
  dim: asIs,
};

/** `varve run FILE --until-caught-up` in this process, which spares two starts of Node a case. */
const runOnce = async (file: string): Promise<void> => {
  await run.run({
    arguments: [file],
    flags: { 'until-caught-up': true },
    output: silent,
    connectors: { kinds: ['postgres'], load: async () => connector },
    topics: async () => embeddedTopic,
    environment: {},
    usage: run.usage,
    version: '',
    listen: () => Promise.reject(new Error('the case has no http')),
    onSecrets: () => undefined,
  });
};

const applySql = async (url: string, sql: readonly string[]): Promise<void> => {
  const client = new pg.Client(url);
  await client.connect();
  try {
    for (const statement of sql) await client.query(statement);
  } finally {
    await client.end();
  }
};

const PUBLICATION = 'CREATE PUBLICATION varve_golden FOR ALL TABLES WITH (publish_via_partition_root = true)';

const DROP_SLOTS = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
  WHERE database = 'golden'`;

/** `changes` run after the snapshot. */
type Scripts = { setup: string; changes: string };

export const readScripts = (caseDir: string): Scripts => ({
  setup: readFileSync(join(caseDir, 'setup.sql'), 'utf8'),
  changes: readFileSync(join(caseDir, 'changes.sql'), 'utf8'),
});

/** What the case set beside the base of all recordings, by Debezium's names. */
export const readSettings = (caseDir: string): Readonly<Record<string, string>> => {
  const file = join(caseDir, 'connector.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : {};
};

/** Everything that Varve publishes. The server's database `golden` is made for it, and gone afterwards. */
export const publishScripts = async (
  server: TestPostgres,
  { setup, changes }: Scripts,
  options: GoldenOptions = {},
): Promise<DecodedRecord[]> => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-golden-'));
  const file = join(directory, 'pipeline.yaml');
  const url = new URL(server.url);
  url.pathname = '/golden';
  await server.query('CREATE DATABASE golden');
  try {
    await writeFile(file, pipelineFile(url.href, options));
    await applySql(url.href, statements(setup));
    if (options.publication === 'never') await applySql(url.href, [PUBLICATION]);
    await runOnce(file);
    const all = statements(changes);
    for (const step of options.stepwise ? all.map((sql) => [sql]) : [all]) {
      await applySql(url.href, step);
      await runOnce(file);
    }
    return await readTopics(join(directory, 'topic'));
  } finally {
    await server.query(DROP_SLOTS);
    await server.query('DROP DATABASE golden WITH (FORCE)');
    await rm(directory, { recursive: true, force: true });
  }
};
