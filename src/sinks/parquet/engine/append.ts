// Owns folding for tables without a key: one row an event, no versions. An event that is in the table already is dropped.
import type { EngineValue } from '../columns-value.ts';
import type { ColumnInput, Database } from './database.ts';
import type { AppendedEvent, Decoder } from './decode.ts';
import type { LiveFiles } from './live-files.ts';
import type { OutputFiles } from './output-files.ts';
import type { MergeRequest } from './protocol.ts';
import type { RowStore } from './row-store.ts';
import { columnDefinitions, quoteText, scanFiles } from './sql.ts';
import type { TableFields } from './table-fields.ts';

export type AppendParts = {
  request: MergeRequest;
  database: Database;
  fields: TableFields;
  store: RowStore;
  decoder: Decoder;
  files: LiveFiles;
  output: OutputFiles;
};

/** Orders of this batch that the table may have, because some partition has been read beyond them. */
const findKnown = async (
  events: readonly AppendedEvent[],
  { request, database, fields, files }: AppendParts,
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
  await database.read(
    `SELECT DISTINCT ${order} FROM ${scan} WHERE ${order} >= ${quoteText(oldest)}`,
    ['string'],
    ([orders]) => {
      for (const text of orders ?? []) known.add(text as string);
    },
  );
  return known;
};

/** Writes one file of the batch's events, in order. */
export const mergeAppended = async (parts: AppendParts): Promise<{ opened: number; duplicates: number }> => {
  const { database, fields, store, decoder, output } = parts;
  const known = await findKnown(decoder.appended, parts);
  const fresh = new Map<string, AppendedEvent>();
  for (const event of decoder.appended) if (!known.has(event.order)) fresh.set(event.order, event);
  const rows = [...fresh.values()];
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
  if (rows.length > 0)
    await output.writeData('appended_row', {
      fields: fields.all,
      sort: fields.column('_order'),
      partition: [],
    });
  await database.run('DROP TABLE appended_row');
  return { opened: rows.length, duplicates: decoder.appended.length - rows.length };
};
