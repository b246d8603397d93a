// Owns one merge of a table with a key: what is found, folded and written, in this order.
import { fold } from '../scd2.ts';
import { Barriers } from './barriers.ts';
import type { Bench } from './bench.ts';
import { copyWithout } from './copy-on-write.ts';
import { deadRecords } from './dead-records.ts';
import { findTouched } from './find-touched.ts';
import { FreshRows } from './fresh-rows.ts';
import { NextRows } from './next-rows.ts';
import type { MergeResult } from './protocol.ts';
import { StateMarks } from './state-marks.ts';
import { writeState } from './state-writer.ts';

/** Folds the changes of a table with a key. */
export const mergeVersions = async (bench: Bench): Promise<MergeResult> => {
  const { request, context, fields, shapes, store, stage, decoder, files, output } = bench;
  const { database, askLocal } = context;
  const marks = new StateMarks({ database, fields, store, askLocal }, request.state);
  await marks.open();
  const barriers = new Barriers({ ...bench, database, marks }, bench);
  const plain = { database, fields, files, request, stage, shapes };
  const { touched, rows } = await findTouched(bench, { barriers, marks, plain });
  const next = new NextRows(plain);
  await next.settle();
  const folded = fold(touched.keys, {
    images: store,
    barriers: [...request.barriers, ...barriers.fresh],
    horizon: request.horizon,
    rules: request.rules,
  });
  await new FreshRows({ ...bench, database }).write(folded.keys, { touched, next }, output);
  const bulk = await barriers.closeOthers(touched, output);
  await next.addRemoved(bulk.positions);
  const gone = rows.addRemoved(bulk.positions, folded.keys);
  const isCopied = request.write === 'copy_on_write';
  const removed = isCopied ? await copyWithout(bench, gone) : files.removeRows(gone, output);
  const plainly = await next.count();
  const state = await writeState(bench, {
    results: folded.keys,
    touched,
    next,
    count: plainly.marks,
    companion: marks,
  });
  const { counts } = folded;
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
      ...counts,
      events: decoder.events,
      opened: counts.opened + plainly.opened,
      closed: counts.closed + bulk.closed + plainly.closed,
      noops: counts.noops + plainly.noops,
      incomplete: counts.incomplete + plainly.incomplete,
    },
  };
};
