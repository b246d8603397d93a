// Owns a pipeline whose tables have a past: rows that changed, went and came back, a key that moved and was
// taken by another row, columns that came and went. And how a test asks it.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Answered, askInProcess } from './asked-in-process.ts';
import { runInProcess } from './pipeline-in-process.ts';
import type { TestPostgres } from './postgres.ts';
import { type Stage, setStage } from './stage.ts';

export type Json = { readonly [name: string]: unknown };

const SCHEMA = `
  create table customers (id int primary key, name text, email text, amount numeric(10,2));
  insert into customers select g, 'Name ' || g, 'mail' || g || '@x.org', g * 1.5 from generate_series(1, 8) g;
  create table orders (id int primary key, customer int);
  insert into orders select g, g from generate_series(1, 3) g`;

/** Each is one transaction, folded by a commit of its own. */
const STEPS = [
  "update customers set email = 'new@x.org' where id = 7",
  "begin; update customers set name = 'Seven', amount = 99.99 where id = 7; " +
    'delete from customers where id = 3; commit',
  'begin; update customers set id = 70 where id = 7; ' +
    "insert into customers values (3, 'Back', null, 0); commit",
  "begin; update customers set name = 'Seventy' where id = 70; " +
    "insert into customers values (7, 'Another', '', 1); delete from customers where id = 1; commit",
];

export type Travelled = Stage & {
  /** The source's time after the snapshot, and after each step. */
  times: readonly string[];
  /** Results of a command on this pipeline as --json gives them; its file is not among the words. */
  ask(words: readonly string[], code?: number): Promise<Json[]>;
  /** The same as people see it, and as it is refused. */
  tell(words: readonly string[]): Promise<Answered>;
};

const sourceTime = async (stage: Stage): Promise<string> => {
  const [row] = await stage.sql(
    `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`,
  );
  return String(row?.at);
};

/** Commands that ask, run in this process. */
export const askers = ({ pipeline }: Pick<Stage, 'pipeline'>): Pick<Travelled, 'ask' | 'tell'> => {
  const tell: Travelled['tell'] = ([command = '', ...words]) => {
    return askInProcess([command, pipeline.file, ...words]);
  };
  const ask: Travelled['ask'] = async ([command = '', ...words], code = 0) => {
    const answered = await tell([command, '--json', ...words]);
    assert.equal(answered.code, code);
    const lines = answered.stdout.split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as Json);
  };
  return { ask, tell };
};

export const setTravelled = async (server: TestPostgres): Promise<Travelled> => {
  const stage = await setStage(server, { schema: SCHEMA });
  await runInProcess(stage.pipeline.file);
  const times = [await sourceTime(stage)];
  for (const step of STEPS) {
    await stage.sql(step);
    times.push(await sourceTime(stage));
    await runInProcess(stage.pipeline.file);
  }
  return { ...stage, times, ...askers(stage) };
};

/** A folder for PATH in which `varve` is this one. */
export const putOnPath = async ({ pipeline }: Stage): Promise<string> => {
  const folder = join(pipeline.directory, 'bin');
  await mkdir(folder);
  const main = resolve(import.meta.dirname, '../../src/main.ts');
  await writeFile(join(folder, 'varve'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, {
    mode: 0o755,
  });
  return folder;
};
