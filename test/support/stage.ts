// Owns the stage of one flow test: a database of its own on the file's server, a pipeline over it, and what
// it means that the pipeline refuses or that its table equals the source again. Knows no fault.
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { ErrorKind } from '../../src/errors.ts';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import type { Checkpoint, StatusRecord } from '../../src/topic/state.ts';
import type { TestPostgres } from './postgres.ts';
import { readTable } from './table-rows.ts';
import { type Finished, makePipeline, type PipelineOptions, type TestPipeline } from './varve.ts';

export const RUN = ['run', 'pipeline.yaml'];
export const UNTIL = [...RUN, '--until-caught-up'];

const ITEMS = `create table public.items (id int primary key, v text);
  insert into public.items select g, 'first ' || g from generate_series(1, 20) g`;

export type Stage = {
  readonly url: string;
  /** Of the pipeline; its slot and publication are `varve_<name>`. */
  readonly name: string;
  readonly slot: string;
  readonly pipeline: TestPipeline;
  readonly tables: string;
  /** Runs statements in the stage's database; gives the rows of the last one. */
  sql(text: string): Promise<Record<string, unknown>[]>;
  [Symbol.asyncDispose](): Promise<void>;
};

type StageOptions = Partial<Omit<PipelineOptions, 'url'>> & {
  /** SQL of the start; `items (id, v)` with twenty rows if absent. */
  schema?: string;
};

let made = 0;

/** One connection a call, because tests stop servers and replace them. */
export const sqlAt =
  (url: string): Stage['sql'] =>
  async (text) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const found = await client.query(text);
      return (Array.isArray(found) ? found.at(-1) : found).rows;
    } finally {
      await client.end();
    }
  };

/** `tables` may bring more lines of the `source:` block along. */
export const setStage = async (server: TestPostgres, options: StageOptions = {}): Promise<Stage> => {
  const { schema = ITEMS, name = `stage_${process.pid}_${made++}`, ...rest } = options;
  await server.query(`create database ${name}`);
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  const pipeline = await makePipeline({ ...rest, name, url: url.href });
  const sql = sqlAt(url.href);
  await sql(schema);
  return {
    url: url.href,
    name,
    slot: `varve_${name}`,
    pipeline,
    tables: join(pipeline.directory, 'tables'),
    sql,
    [Symbol.asyncDispose]: () => pipeline[Symbol.asyncDispose](),
  };
};

/** Changes the pipeline file; `from` must be there. */
export const amend = async ({ file }: TestPipeline, from: string, to: string): Promise<void> => {
  const text = await readFile(file, 'utf8');
  assert.ok(text.includes(from), `${file} holds no ${from}`);
  await writeFile(file, text.replace(from, to));
};

/** Where the pipeline stands by what is durable, read without a process of its own. */
/** `resume` is the bare position. */
export const standingOf = async ({
  pipeline,
}: Pick<Stage, 'pipeline'>): Promise<{ state: string; reason: string | null; resume: string }> => {
  const feed = await openEmbeddedFeed({ path: join(pipeline.directory, 'topic') });
  try {
    const records = await feed.state();
    const { state, reason } = JSON.parse(records.get('status') ?? '{}') as StatusRecord;
    const { resume = '' } = JSON.parse(records.get('checkpoint') ?? '{}') as Partial<Checkpoint>;
    return { state, reason, resume: resume.replace(/ .*/, '') };
  } finally {
    await feed.close();
  }
};

/** What `status --json` says. */
export const statusOf = async (pipeline: TestPipeline, code = 0): Promise<Record<string, unknown>> =>
  JSON.parse((await pipeline.run(['status', 'pipeline.yaml', '--json'], code)).stdout);

/**
 * How far each topic goes, and every version of every table: equal when nothing new was published or folded.
 */
export const readMarks = async ({ pipeline, tables }: Stage): Promise<Record<string, unknown>> => {
  const ends: Record<string, string> = {};
  const feed = await openEmbeddedFeed({ path: join(pipeline.directory, 'topic') }).catch(() => null);
  for (const topic of (await feed?.topics()) ?? [])
    ends[topic] = String((await feed?.ends(topic, 0))?.end ?? '');
  await feed?.close();
  return { ends, versions: await readVersions(tables) };
};

const readVersions = async (tables: string): Promise<Record<string, unknown>> => {
  const versions: Record<string, unknown> = {};
  for (const schema of await readdir(tables).catch(() => [])) {
    if (schema.startsWith('.')) continue;
    for (const name of await readdir(join(tables, schema))) {
      if (name.endsWith('__varve_state')) continue;
      versions[`${schema}.${name}`] = (await readTable(tables, name, schema)).rows;
    }
  }
  return versions;
};

/** Current rows, as `[id, v]`, sorted. */
export const readCurrent = async (stage: Stage, table = 'items'): Promise<(string | null)[][]> => {
  const { rows } = await readTable(stage.tables, table);
  return sorted(rows.filter((row) => row.is_current === 'true').map(({ id = null, v = null }) => [id, v]));
};

const sorted = (rows: (string | null)[][]): (string | null)[][] =>
  rows.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

type Refusal = { kind: ErrorKind; says: readonly (string | RegExp)[] };

const assertSays = (text: string, says: Refusal['says']): void => {
  for (const word of says) {
    const isThere = typeof word === 'string' ? text.includes(word) : word.test(text);
    assert.ok(isThere, `${word} is not in: ${text}`);
  }
};

/**
 * `run` ends with 1 and these words, `status` goes on saying so, and neither topic nor table has anything
 * new.
 */
export const assertRefuses = async (stage: Stage, { kind, says }: Refusal): Promise<Finished> => {
  const before = await readMarks(stage);
  const end = await stage.pipeline.run(RUN, 1);
  assertSays(end.stderr, says);
  const { state, reason, sentence } = await statusOf(stage.pipeline, 1);
  assert.deepEqual({ state, reason }, { state: 'failed', reason: kind });
  assertSays(String(sentence), says);
  assert.deepEqual(await readMarks(stage), before, 'something was written although the history is in doubt');
  return end;
};

/** Current rows of the table are the rows of the source, by `id` and `v`. */
export const assertSameRows = async (stage: Stage, table = 'items'): Promise<void> => {
  const rows = (await stage.sql(`select id::text, v from public.${table}`)) as { id: string; v: string }[];
  assert.deepEqual(await readCurrent(stage, table), sorted(rows.map(({ id, v }) => [id, v])));
};

/**
 * After a repair: the pipeline runs again, the table equals the source, and `status` has no complaint left.
 */
export const assertMended = async (stage: Stage, table = 'items'): Promise<void> => {
  await stage.sql(`insert into public.${table} (id, v) values (9001, 'after the repair')`);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage, table);
  const { state, reason } = await standingOf(stage);
  assert.deepEqual({ state, reason }, { state: 'stopped', reason: null });
};
