// Owns the names of the benches of the table half. The large table that they need is made once a run, for the
// first of them.
import type { Bench } from './kafka-benches.ts';
import { tableSmallCommits } from './table-commits.ts';
import { tableInserts, tableSnapshot, tableUpdates } from './table-fold.ts';
import { tableHistory } from './table-questions.ts';
import { tableRivals } from './table-rivals.ts';

export const TABLE_BENCHES: readonly (readonly [name: string, bench: Bench])[] = [
  ['table-snapshot', tableSnapshot],
  ['table-inserts', tableInserts],
  ['table-updates', tableUpdates],
  ['table-small-commits', tableSmallCommits],
  ['table-history', tableHistory],
  ['table-rivals', tableRivals],
];
