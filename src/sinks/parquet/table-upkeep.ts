// Owns keeping a table readable, one small step at a time: merging files, and deleting what nobody can need
// any more. Decides when; what is worth merging and what may go is decided in iceberg/.
import { VarveError } from '../../errors.ts';
import type { Upkeep } from '../sink.ts';
import type { Engine } from './engine/engine.ts';
import type { Change } from './iceberg/commit.ts';
import {
  commitTimes,
  danglingDeletes,
  mostRuns,
  planRewrites,
  REWRITE_POLICY,
  type RewritePlan,
} from './iceberg/maintenance.ts';
import { retireVersions, sweepOrphans } from './iceberg/sweep.ts';
import { liveFiles, type TableIo, type TableState } from './iceberg/table-state.ts';
import { adoptFiles, storedFiles } from './stored-table.ts';

const RETIRE_EVERY_MS = 600_000;
const METADATA_AGE_MS = 24 * 3_600_000;
/** It lists everything that the table has. */
const SWEEP_EVERY_MS = 24 * 3_600_000;
const ORPHAN_AGE_MS = 3 * 24 * 3_600_000;
/** From so many small files in one partition on, intake waits. */
const MAX_RUNS = 8;
/** When orphans were looked for last, for the next process. */
const SWEPT = 'varve.swept-ms';

type UpkeepParts = {
  io: TableIo;
  engine: Engine;
  stateLocation: string;
  snapshotId: () => bigint;
  commit: (state: TableState, change: Change) => Promise<TableState>;
};

export class TableUpkeep {
  readonly #parts: UpkeepParts;
  #retiredMs = 0;
  #sweptMs = 0;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  /** Takes over what an earlier process has noted. */
  recall({ properties }: TableState): void {
    this.#sweptMs = Math.max(this.#sweptMs, Number(properties[SWEPT] ?? 0));
  }

  /** For the next commit. */
  get properties(): Record<string, string> {
    return { [SWEPT]: String(this.#sweptMs) };
  }

  /** `stateFiles`: those of the companion that the table still names. */
  async step(state: TableState, stateFiles: readonly string[]): Promise<Upkeep> {
    const { io } = this.#parts;
    const files = [...(await liveFiles(io.store, state)).values()];
    const baseSequence = Number(state.metadata['last-sequence-number']);
    const committedAtMs = commitTimes(state.metadata);
    const [plan] = planRewrites({ files, baseSequence, nowMs: io.now(), committedAtMs });
    if (plan === undefined) return (await this.#clean(state, stateFiles)) ? 'more' : 'done';
    const deletes = [...plan.deletes, ...danglingDeletes(files)];
    const after = await this.#rewrite(state, { ...plan, deletes });
    return mostRuns((await liveFiles(io.store, after)).values()) >= MAX_RUNS ? 'behind' : 'more';
  }

  async #rewrite(state: TableState, { data, deletes, baseSequence }: RewritePlan): Promise<TableState> {
    const { io, engine, snapshotId, commit } = this.#parts;
    const { targetRows: fileRows } = REWRITE_POLICY;
    const request = { ...(await storedFiles(io.store, state)), commit: io.uuid(), inputs: data, fileRows };
    const refuse = (): never => {
      throw new VarveError('internal', 'A rewrite asked for a schema of the topic.');
    };
    const localCopy = (uri: string): Promise<string> => io.store.localCopy(uri);
    const { added } = await engine.rewrite(request, { localCopy, schema: refuse });
    await adoptFiles(io.store, added);
    const add = added.map(({ file }) => file);
    const remove = [...data, ...deletes];
    return commit(state, {
      snapshot: { id: snapshotId(), operation: 'replace', add, remove, summary: {}, baseSequence },
    });
  }

  /** Deletes files that nobody can need any more, some at a time. True: there are more. */
  async #clean(state: TableState, stateFiles: readonly string[]): Promise<boolean> {
    const { io } = this.#parts;
    const nowMs = io.now();
    if (nowMs - this.#retiredMs < RETIRE_EVERY_MS) return false;
    const retired = await retireVersions(io, state, { minAgeMs: METADATA_AGE_MS, dryRun: false });
    if (retired.length > 0) return true;
    this.#retiredMs = nowMs;
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return false;
    this.#sweptMs = nowMs;
    await sweepOrphans(io, state, { minAgeMs: ORPHAN_AGE_MS, dryRun: false });
    await this.#sweepCompanion(stateFiles, nowMs - ORPHAN_AGE_MS);
    return false;
  }

  async #sweepCompanion(stateFiles: readonly string[], beforeMs: number): Promise<void> {
    const { io, stateLocation } = this.#parts;
    const named = new Set(stateFiles);
    for await (const { uri, modifiedMs } of io.store.list(`${stateLocation}/`))
      if (modifiedMs < beforeMs && !named.has(uri)) await io.store.remove(uri);
    await io.store.sweepLeftovers(`${stateLocation}/`, beforeMs);
  }
}
