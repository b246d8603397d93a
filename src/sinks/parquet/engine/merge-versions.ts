// Owns one merge of a table with a key: what is found, folded and written, in this order.
import { transactionOf } from '../../../change/order.ts';
import { fold } from '../scd2.ts';
import { Barriers } from './barriers.ts';
import type { Bench } from './bench.ts';
import { deadRecords } from './dead-records.ts';
import { findTouched } from './find-touched.ts';
import { FreshRows } from './fresh-rows.ts';
import { NextRows } from './next-rows.ts';
import type { MergeResult } from './protocol.ts';
import { StateMarks } from './state-marks.ts';
import { writeState } from './state-writer.ts';
import { StoredRows } from './stored-rows.ts';

/** Folds the changes of a table with a key. */
export const mergeVersions = async (bench: Bench): Promise<MergeResult> => {
  const { request, context, fields, shapes, store, stage, decoder, files, output } = bench;
  const { database, askLocal } = context;
  const marks = new StateMarks({ database, fields, store, askLocal }, request.state);
  await marks.open();
  const barriers = new Barriers({ database, fields, files, marks, request }, freshBarriers(bench));
  const rows = new StoredRows({ database, files, fields, store });
  await rows.prepare();
  const plain = { database, fields, files, request, stage, shapes };
  const touched = await findTouched(bench, { barriers, marks, plain, rows });
  const next = new NextRows(plain);
  await next.settle();
  const folded = fold(touched.keys, {
    images: store,
    barriers: [...request.barriers, ...barriers.fresh],
    horizon: request.horizon,
    collapse: request.collapse,
  });
  const fresh = new FreshRows({ database, fields, store, request });
  await fresh.write(folded.keys, { touched, next }, output);
  const bulk = await barriers.closeOthers(touched, output);
  await next.addRemoved(bulk.positions);
  const removed = files.removeRows(rows.addRemoved(bulk.positions, folded.keys), output);
  const plainly = await next.count();
  const state = await writeState(bench, {
    results: folded.keys,
    touched,
    next,
    count: plainly.marks,
    scan: marks.scan,
  });
  const { opened, closed, duplicates, late, noops } = folded.counts;
  return {
    added: output.files,
    removed,
    stateAdded: state.added,
    stateRemoved: state.removed,
    barriers: barriers.fresh,
    offsets: decoder.offsets,
    highs: decoder.highs,
    dead: deadRecords(request, decoder, folded.dead),
    counts: {
      events: decoder.events,
      opened: opened + plainly.opened,
      closed: closed + bulk.closed + plainly.closed,
      duplicates,
      late,
      noops: noops + plainly.noops,
    },
  };
};

/** Barriers that the table has not seen yet; too late ones close nothing any more. */
const freshBarriers = ({ request, decoder }: Bench) => {
  const { barriers, sweep, horizon } = request;
  const known = new Set(barriers.map(({ order }) => order));
  const all = [...decoder.collector.barriers.values(), ...(sweep === null ? [] : [sweep])];
  const floor = horizon === null ? '' : transactionOf(horizon);
  return all.filter(({ order }) => !known.has(order) && transactionOf(order) > floor);
};
