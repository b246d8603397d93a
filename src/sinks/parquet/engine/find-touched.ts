// Owns which keys a merge may change and the order in which all is found that the rules must know of them.
import type { Barriers } from './barriers.ts';
import type { Bench } from './bench.ts';
import { bucketFilter } from './buckets.ts';
import { currentFiles } from './live-files.ts';
import { Past } from './past.ts';
import { findPlain, type PlainParts } from './plain-keys.ts';
import { readRuled } from './ruled-events.ts';
import type { StateMarks } from './state-marks.ts';
import { StoredRows } from './stored-rows.ts';
import { TouchedKeys } from './touched-keys.ts';

type Finders = { barriers: Barriers; marks: StateMarks; plain: PlainParts };

/**
 * All keys that need the rules, with all that the rules must know of them, and where the rows of that lie; of
 * the plain ones, their rows.
 */
export const findTouched = async (
  bench: Bench,
  { barriers, marks, plain }: Finders,
): Promise<{ touched: TouchedKeys; rows: StoredRows }> => {
  const { request, fields, decoder } = bench;
  const current = currentFiles(request);
  const links = new TouchedKeys(fields.key);
  for (const { origin } of decoder.collector.details.values()) if (origin !== null) links.touch(origin, '');
  for (const { key, origin } of marks.links) for (const name of [key, origin]) links.touch(name, '');
  await findPlain(plain, { linked: [...links.keys.values()], isNone: barriers.fresh.length > 0 });
  const touched = new TouchedKeys(fields.key);
  touched.addChanges(await readRuled(bench), new Past(request));
  marks.touchRelated(touched);
  // After that, because every touched key needs the new barriers: closing in bulk leaves all of them out.
  await barriers.touch(touched);
  await marks.load(touched);
  const { database } = bench.context;
  const rows = new StoredRows({ ...bench, database });
  await rows.prepare();
  const ofBuckets = bucketFilter(request, fields);
  const all = [...touched.keys.values()];
  await rows.loadCurrent(touched, current.filter(ofBuckets(all)));
  const late = all.filter((key) => touched.needsHistory(key));
  const past = request.data.filter((file) => !current.includes(file));
  await rows.loadHistory(touched, late, past.filter(ofBuckets(late)));
  if (bench.past !== null && marks.scan !== '')
    await rows.loadPast(touched, late, bench.past.selectKept(marks.scan, 'touched_key'));
  return { touched, rows };
};
