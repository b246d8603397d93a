// Owns one merge from record batches to files: what is read, found, folded and written, in this order. Commits nothing: until
// its files are adopted, nothing has happened.

import { fold } from '../scd2.ts';
import { mergeAppended } from './append.ts';
import { Barriers } from './barriers.ts';
import { bucketFilter } from './buckets.ts';
import { deadRecords } from './dead-records.ts';
import { Decoder } from './decode.ts';
import type { EngineContext } from './engine-context.ts';
import { FreshRows } from './fresh-rows.ts';
import { isCurrentFile, LiveFiles } from './live-files.ts';
import { OutputFiles } from './output-files.ts';
import type { MergeRequest, MergeResult } from './protocol.ts';
import { RowStore } from './row-store.ts';
import { StateMarks } from './state-marks.ts';
import { StoredRows } from './stored-rows.ts';
import { TableFields } from './table-fields.ts';
import { plainBy, TouchedKeys } from './touched-keys.ts';

/** What one merge works with. */
type Bench = {
  request: MergeRequest;
  context: EngineContext;
  fields: TableFields;
  store: RowStore;
  decoder: Decoder;
  files: LiveFiles;
  output: OutputFiles;
};

/** Folds the request's batches into the table. Throws `schema_unknown`, `record_corrupt`, `engine_failed`. */
export const runMerge = async (request: MergeRequest, context: EngineContext): Promise<MergeResult> => {
  const { database, directory, askLocal, askSchema } = context;
  const { layout, commit, location, spec } = request;
  const fields = new TableFields(layout);
  const store = new RowStore(fields.user, fields.tracked);
  const decoder = new Decoder(request, store, askSchema);
  await decoder.readAll(request.batches);
  const files = new LiveFiles(database, askLocal, request.deletes);
  await files.prepare();
  const output = new OutputFiles(database, { commit, location, directory, spec });
  const bench = { request, context, fields, store, decoder, files, output };
  return layout.mode === 'append' ? await mergeAppend(bench) : await mergeVersions(bench);
};

const mergeAppend = async ({
  request,
  context,
  fields,
  store,
  decoder,
  files,
  output,
}: Bench): Promise<MergeResult> => {
  const { database } = context;
  const { opened, duplicates } = await mergeAppended({
    request,
    database,
    fields,
    store,
    decoder,
    files,
    output,
  });
  const counts = { events: decoder.events, opened, closed: 0, duplicates, late: 0, noops: 0 };
  const nothing = { removed: [], stateAdded: null, stateRemoved: [], barriers: [] };
  const dead = deadRecords(request, decoder, []);
  const { offsets, highs } = decoder;
  return { added: output.files, ...nothing, offsets, highs, dead, counts };
};

const mergeVersions = async (bench: Bench): Promise<MergeResult> => {
  const { request, context, fields, store, decoder, files, output } = bench;
  const { database, directory, askLocal } = context;
  const { commit, horizon, stateLocation } = request;
  const marks = new StateMarks({ database, fields, store, askLocal }, request.state);
  await marks.open();
  const barriers = new Barriers({ database, fields, files, marks, request }, freshBarriers(bench));
  const rows = new StoredRows({ database, files, fields, store });
  await rows.prepare();
  const touched = await findTouched(bench, { barriers, marks, rows });
  const folded = fold(touched.keys, {
    images: store,
    barriers: [...request.barriers, ...barriers.fresh],
    horizon,
    collapse: request.collapse,
  });
  const fresh = new FreshRows({ database, fields, store, request });
  await fresh.write(folded.keys, touched, output);
  const bulk = await barriers.closeOthers(touched, output);
  const removed = files.removeRows(rows.addRemoved(bulk.positions, folded.keys), output);
  const state = await marks.write(folded.keys, touched, {
    commit,
    location: stateLocation,
    directory,
    horizon,
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
    counts: { events: decoder.events, opened, closed: closed + bulk.closed, duplicates, late, noops },
  };
};

/** Barriers that the table has not seen yet; too late ones close nothing any more. */
const freshBarriers = ({ request, decoder }: Bench) => {
  const { barriers, sweep, horizon } = request;
  const known = new Set(barriers.map(({ order }) => order));
  const all = [...decoder.barriers.values(), ...(sweep === null ? [] : [sweep])];
  return all.filter(({ order }) => !known.has(order) && (horizon === null || order > horizon));
};

type Finders = { barriers: Barriers; marks: StateMarks; rows: StoredRows };

/** All keys that this merge may change, with all that the rules must know of them. */
const findTouched = async (
  { request, fields, decoder }: Bench,
  { barriers, marks, rows }: Finders,
): Promise<TouchedKeys> => {
  const { data, state, highs } = request;
  const touched = new TouchedKeys(fields.key);
  const isEmpty = data.length === 0 && state.length === 0;
  touched.addChanges(decoder.keys, plainBy({ isEmpty, highs, barriers: request.barriers }));
  await marks.touchRelated(touched);
  // Last, because every touched key needs the new barriers, and closing the others in bulk leaves all of these out.
  await barriers.touch(touched);
  await marks.load(touched);
  const inBuckets = bucketFilter(request, fields);
  const all = [...touched.keys.values()];
  await rows.loadCurrent(touched, data.filter(isCurrentFile).filter(inBuckets(all)));
  const late = all.filter((key) => touched.needsHistory(key));
  const past = data.filter((file) => !isCurrentFile(file));
  await rows.loadHistory(touched, late, past.filter(inBuckets(late)));
  return touched;
};
