// Owns one merge from record batches to files. Commits nothing: until its files are adopted, nothing has
// happened.
import { mergeEvents } from './append.ts';
import { openBench } from './bench.ts';
import type { EngineContext } from './engine-context.ts';
import { mergeVersions } from './merge-versions.ts';
import type { MergeRequest, MergeResult } from './protocol.ts';

/** Folds the request's batches into the table. Throws `schema_unknown`, `record_corrupt`, `engine_failed`. */
export const runMerge = async (request: MergeRequest, context: EngineContext): Promise<MergeResult> => {
  const bench = await openBench(request, context);
  return request.layout.mode === 'append' ? await mergeEvents(bench) : await mergeVersions(bench);
};
