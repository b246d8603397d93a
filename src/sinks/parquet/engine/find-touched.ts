// Owns which keys a merge may change and the order in which all is found that the rules must know of them.
import type { Barriers } from './barriers.ts';
import type { Bench } from './bench.ts';
import { bucketFilter } from './buckets.ts';
import { isCurrentFile } from './live-files.ts';
import type { StateMarks } from './state-marks.ts';
import type { StoredRows } from './stored-rows.ts';
import { plainBy, TouchedKeys } from './touched-keys.ts';

type Finders = { barriers: Barriers; marks: StateMarks; rows: StoredRows };

/** All keys that this merge may change, with all that the rules must know of them. */
export const findTouched = async (
  { request, fields, decoder }: Bench,
  { barriers, marks, rows }: Finders,
): Promise<TouchedKeys> => {
  const { data, state, highs } = request;
  const touched = new TouchedKeys(fields.key);
  const isEmpty = data.length === 0 && state.length === 0;
  touched.addChanges(decoder.changes.keys, plainBy({ isEmpty, highs, barriers: request.barriers }));
  await marks.touchRelated(touched);
  // After that, because every touched key needs the new barriers: closing in bulk leaves all of them out.
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
