// Owns rewriting a table's files: which ones next, by the table's own sizes, having the engine do it, and
// telling of it. Decides nothing about when.
import { VarveError } from '../../errors.ts';
import type { Engine } from './engine/engine.ts';
import {
  commitTimes,
  danglingDeletes,
  mostRuns,
  planRewrites,
  REWRITE_POLICY,
  type RewritePlan,
} from './iceberg/maintenance.ts';
import type { SnapshotChange } from './iceberg/snapshot-files.ts';
import { liveFiles, type TableIo, type TableState } from './iceberg/table-state.ts';
import type { DataFile, LiveFile } from './iceberg-type.ts';
import { adoptFiles, storedFiles } from './stored-table.ts';
import type { TableRules } from './table-options.ts';
import type { UpkeepNews } from './upkeep-news.ts';

/** From so many small files in one partition on, intake waits. */
const MAX_RUNS = 8;

type RewriteParts = { io: TableIo; engine: Engine; rules: TableRules; snapshotId: () => bigint };

type Rewritten = Extract<UpkeepNews, { kind: 'rewritten' }>;

const bytesOf = (files: readonly { bytes: number }[]): number =>
  files.reduce((sum, { bytes }) => sum + bytes, 0);

const rowsOf = (files: readonly { records: number }[]): number =>
  files.reduce((sum, { records }) => sum + records, 0);

export class TableRewrites {
  readonly #parts: RewriteParts;

  constructor(parts: RewriteParts) {
    this.#parts = parts;
  }

  get #policy(): typeof REWRITE_POLICY {
    return { ...REWRITE_POLICY, targetBytes: this.#parts.rules.files.targetFileBytes };
  }

  /** The most urgent first, one a partition at most. `nowMs`: by which files are old. */
  async plan(state: TableState, nowMs: number): Promise<RewritePlan[]> {
    const files = [...(await liveFiles(this.#parts.io.store, state)).values()];
    const baseSequence = Number(state.metadata['last-sequence-number']);
    const committedAtMs = commitTimes(state.metadata);
    const input = { files, specId: state.spec.specId, baseSequence, nowMs, committedAtMs };
    const [first, ...others] = planRewrites(input, this.#policy);
    if (first === undefined) return [];
    return [{ ...first, deletes: [...first.deletes, ...danglingDeletes(files)] }, ...others];
  }

  async isBehind(state: TableState): Promise<boolean> {
    return mostRuns((await liveFiles(this.#parts.io.store, state)).values(), this.#policy) >= MAX_RUNS;
  }

  tell({ specs }: TableState, plan: RewritePlan, made: readonly DataFile[] | null): Rewritten {
    const { reason, data, deletes, partition, specId } = plan;
    const fields = specs.find((spec) => spec.specId === specId)?.fields ?? [];
    const own = deletes.filter(({ referencedDataFile }) => referencedDataFile !== null);
    return {
      kind: 'rewritten',
      reason,
      partition: fields.map(({ name }, at) => `${name}=${partition[at] ?? null}`).join(', '),
      files: data.length,
      deletes: deletes.length,
      rows: rowsOf(data) - rowsOf(own),
      bytes: bytesOf(data) + bytesOf(deletes),
      made: made === null ? null : { files: made.length, rows: rowsOf(made), bytes: bytesOf(made) },
    };
  }

  /** So many rows of these files make a file of the size that is wanted. */
  #fileRows(data: readonly LiveFile[]): number {
    const { targetBytes, targetRows } = this.#policy;
    const rowBytes = bytesOf(data) / Math.max(1, rowsOf(data));
    return Math.max(1, Math.min(targetRows, Math.ceil(targetBytes / rowBytes)));
  }

  /** Makes the new files, and gives the snapshot that puts them in the place of the old ones. */
  async rewrite(
    state: TableState,
    plan: RewritePlan,
  ): Promise<{ snapshot: SnapshotChange; news: Rewritten }> {
    const { io, engine, snapshotId } = this.#parts;
    const { data, deletes, baseSequence } = plan;
    const fileRows = this.#fileRows(data);
    const request = { ...(await storedFiles(io.store, state)), commit: io.uuid(), inputs: data, fileRows };
    const refuse = (): never => {
      throw new VarveError('internal', 'A rewrite asked for a schema of the topic.');
    };
    using copies = io.store.lease();
    const { added } = await engine.rewrite(request, { localCopy: copies.localCopy, schema: refuse });
    await adoptFiles(io.store, added);
    const add = added.map(({ file }) => file);
    const remove = [...data, ...deletes];
    const snapshot = {
      id: snapshotId(),
      operation: 'replace' as const,
      add,
      remove,
      summary: {},
      baseSequence,
    };
    return { snapshot, news: this.tell(state, plan, add) };
  }
}
