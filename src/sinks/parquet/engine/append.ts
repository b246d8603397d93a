// Owns folding into a list of events: one row an event, which never changes. An event that is in the table
// already is dropped.
import type { Bench } from './bench.ts';
import { deadRecords } from './dead-records.ts';
import type { MergeResult } from './protocol.ts';
import { columnList, columnOf, quoteText, scanFiles } from './sql.ts';

/**
 * Table `known_event` (event_order, op): what the table has of this batch, because some partition has been
 * read beyond it. The two halves of a changed key have one order, and a truncate comes in every partition.
 */
const findKnown = async ({ request, context, fields, files }: Bench): Promise<void> => {
  const { database } = context;
  await database.run('CREATE OR REPLACE TEMP TABLE known_event (event_order VARCHAR, op VARCHAR)');
  let newest = '';
  for (const { order } of request.highs.values()) if (order > newest) newest = order;
  const [row] = await database.rows('SELECT min(event_order) FROM event');
  const oldest = row?.[0];
  if (typeof oldest !== 'string' || request.data.length === 0) return;
  if (newest !== '' && oldest > newest) return;
  const opened = await files.open(request.data);
  const [order, op] = ['_order', '_op'].map((name) => fields.column(name));
  const scan = scanFiles(
    opened.map(({ local }) => local),
    fields.all,
  );
  await database.run(
    `INSERT INTO known_event SELECT ${order}, ${op} FROM ${scan} WHERE ${order} >= ${quoteText(oldest)}`,
  );
};

/** Writes one file of the batch's events, in order. */
export const mergeEvents = async (bench: Bench): Promise<MergeResult> => {
  const { request, fields, stage, decoder, output } = bench;
  const total = stage.count;
  if (total > 0) await findKnown(bench);
  const own: Readonly<Record<string, string>> = {
    _op: 'e.op',
    _order: 'e.event_order',
    _commit_ts: 'e.ts',
    _tx: 'e.tx',
    _incomplete: 'e.incomplete',
  };
  const values = fields.own.map((field) => `${own[field.name]} AS ${columnOf(field)}`);
  const fresh =
    `(SELECT ${[columnList(fields.user, 'e'), ...values].join(', ')} FROM event e ` +
    'ANTI JOIN known_event k ON k.event_order = e.event_order AND k.op = e.op ' +
    'QUALIFY row_number() OVER (PARTITION BY e.event_order, e.op ORDER BY e.n DESC) = 1)';
  // Of a changed key, first what it was.
  const sort = `${fields.column('_order')}, ${fields.column('_op')} DESC`;
  const opened = total === 0 ? 0 : await output.writeData(fresh, { fields: fields.all, sort, partition: [] });
  const { events, offsets, highs } = decoder;
  return {
    added: output.files,
    removed: [],
    stateAdded: null,
    stateRemoved: [],
    // It ends no row here, and is done with.
    barriers: request.sweep === null ? [] : [request.sweep],
    offsets,
    highs,
    dead: deadRecords(request, decoder, []),
    counts: {
      events,
      opened,
      closed: 0,
      duplicates: total - opened,
      late: 0,
      conflicts: 0,
      noops: 0,
      incomplete: stage.incomplete,
    },
  };
};
