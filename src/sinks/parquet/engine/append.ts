// Owns folding for tables without a key: one row an event, no versions. An event that is in the table
// already is dropped.
import type { EngineValue } from '../columns-value.ts';
import type { Bench } from './bench.ts';
import type { AppendedEvent } from './changes.ts';
import type { ColumnInput } from './database.ts';
import { deadRecords } from './dead-records.ts';
import type { MergeResult } from './protocol.ts';
import { columnDefinitions, quoteText, scanFiles } from './sql.ts';

/** Orders of this batch that the table may have, because some partition has been read beyond them. */
const findKnown = async (
  events: readonly AppendedEvent[],
  { request, context, fields, files }: Bench,
): Promise<ReadonlySet<string>> => {
  const known = new Set<string>();
  let newest = '';
  for (const { order } of request.highs.values()) if (order > newest) newest = order;
  let oldest = '~';
  for (const { order } of events) if (order < oldest) oldest = order;
  if (request.data.length === 0 || (newest !== '' && oldest > newest)) return known;
  const opened = await files.open(request.data);
  const order = fields.column('_order');
  const scan = scanFiles(
    opened.map(({ local }) => local),
    fields.all,
  );
  await context.database.read(
    `SELECT DISTINCT ${order} FROM ${scan} WHERE ${order} >= ${quoteText(oldest)}`,
    ['string'],
    ([orders]) => {
      for (const text of orders ?? []) known.add(text as string);
    },
  );
  return known;
};

/** Writes one file of the batch's events, in order. */
export const mergeEvents = async (bench: Bench): Promise<MergeResult> => {
  const { request, fields, decoder, output } = bench;
  const { appended } = decoder.changes;
  const known = await findKnown(appended, bench);
  const fresh = new Map<string, AppendedEvent>();
  for (const event of appended) if (!known.has(event.order)) fresh.set(event.order, event);
  const sort = fields.column('_order');
  if (fresh.size > 0) {
    await stageEvents([...fresh.values()], bench);
    await output.writeData('appended_row', { fields: fields.all, sort, partition: [] });
  }
  const { events, offsets, highs } = decoder;
  const duplicates = appended.length - fresh.size;
  return {
    added: output.files,
    removed: [],
    stateAdded: null,
    stateRemoved: [],
    barriers: [],
    offsets,
    highs,
    dead: deadRecords(request, decoder, []),
    counts: { events, opened: fresh.size, closed: 0, duplicates, late: 0, noops: 0 },
  };
};

const stageEvents = async (
  rows: readonly AppendedEvent[],
  { context, fields, store }: Bench,
): Promise<void> => {
  const { database } = context;
  await database.run(`CREATE OR REPLACE TEMP TABLE appended_row (${columnDefinitions(fields.all)})`);
  const own: Readonly<Record<string, (row: number) => EngineValue>> = {
    _op: (row) => rows[row]!.op,
    _order: (row) => rows[row]!.order,
    _commit_ts: (row) => rows[row]!.ts,
    _tx: (row) => rows[row]!.tx,
    _incomplete: (row) => {
      const names = store.incomplete[rows[row]!.image]!;
      return names.length === 0 ? null : names;
    },
  };
  const columns: ColumnInput[] = [
    ...fields.user.map(({ type }, at): ColumnInput => {
      const column = store.columns[at]!;
      return { type, value: (row) => column[rows[row]!.image] ?? null };
    }),
    ...fields.own.map(({ name, type }) => ({ type, value: own[name] ?? (() => null) })),
  ];
  await database.append('appended_row', columns, rows.length);
};
