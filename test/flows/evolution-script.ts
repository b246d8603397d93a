// Owns a table whose columns come, go, change their names and their types between its changes, and what must
// be remembered of it: the same, whether the pipeline ran meanwhile or not.
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestPostgres } from '../support/postgres.ts';

export const SETUP = `
  create table shape (
    id int primary key, num numeric(8,2), name varchar(10), gone text, twice text, kind text, z int);
  insert into shape values (1, 1.25, 'one', 'g1', 't1', 'k1', 1), (2, 2.5, 'two', 'g2', 't2', 'k2', 2)`;

/** Each step is what happens between two looks of a pipeline; no step rewrites rows. */
const STEPS: readonly (readonly string[])[] = [
  ['alter table shape add added int', 'update shape set added = 7 where id = 1'],
  ['alter table shape rename name to label', "update shape set label = 'uno' where id = 1"],
  ["update shape set gone = 'G1' where id = 1", 'alter table shape drop gone'],
  ['update shape set z = z where id = 1', 'update shape set z = 3 where id = 1'],
  ['alter table shape drop twice, add twice text', "update shape set twice = 'new' where id = 1"],
  ['alter table shape drop kind, add kind int', 'update shape set kind = 9 where id = 1'],
  ['alter table shape alter num type numeric(12,2)', 'update shape set num = 1234567890.12 where id = 1'],
  ['alter table shape alter label type text', "update shape set label = 'more than ten' where id = 1"],
  [
    `begin; update shape set z = 4 where id = 1; alter table shape add late int;
     update shape set late = 1 where id = 1; alter table shape rename z to zz;
     update shape set zz = 5 where id = 2; commit`,
  ],
  ["insert into shape (id, label) values (3, 'three')", 'delete from shape where id = 2'],
];

/** Calls `after` when `every` so many steps are done. */
export const takeSteps = async (
  server: TestPostgres,
  {
    pauseMs = 0,
    every = 1,
    after = async () => {},
  }: { pauseMs?: number; every?: number; after?: () => Promise<unknown> },
): Promise<void> => {
  for (const [at, step] of STEPS.entries()) {
    for (const statement of step) await server.query(statement);
    await sleep(pauseMs);
    if ((at + 1) % every === 0) await after();
  }
};

/** Names, field ids and types; a dropped column gives its name up when that is used again. */
export const COLUMNS = [
  '1 id int',
  '2 num decimal(12, 2)',
  '3 label string',
  '4 gone string',
  '5 twice__2 string',
  '6 kind__2 string',
  '7 zz int',
  '20 added int',
  '21 twice string',
  '22 kind int',
  '23 late int',
];
export const COMPARED = [
  ...['id', 'num', 'label', 'gone', 'twice__2', 'kind__2', 'zz', 'added', 'twice', 'kind', 'late'],
  ...['_closed_by', '_incomplete'],
];
export const ROWS = [
  '1 1.25 one g1 t1 k1 1 null null null null u null',
  '2 2.50 two g2 t2 k2 2 null null null null u null',
  '1 1.25 one g1 t1 k1 1 7 null null null u null',
  '1 1.25 uno g1 t1 k1 1 7 null null null u null',
  '1 1.25 uno G1 t1 k1 1 7 null null null u null',
  '1 1.25 uno null t1 k1 3 7 null null null u null',
  '1 1.25 uno null null k1 3 7 new null null u null',
  '1 1.25 uno null null null 3 7 new 9 null u null',
  '1 1234567890.12 uno null null null 3 7 new 9 null u null',
  '1 1234567890.12 more than ten null null null 3 7 new 9 null u null',
  '1 1234567890.12 more than ten null null null 4 7 new 9 1 null null',
  '2 2.50 two null null null 5 null null null null d null',
  '3 null three null null null null null null null null null null',
];
