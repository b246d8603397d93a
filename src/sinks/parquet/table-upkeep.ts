// Owns keeping a table readable, one small step at a time: merging files, letting snapshots go, and deleting
// what nobody can need any more. Decides when; what is worth merging and what may go is decided in iceberg/.
import { asVarveError } from '../../errors.ts';
import type { Upkeep } from '../sink.ts';
import type { Change } from './iceberg/commit.ts';
import { countExpired, type ExpirePolicy } from './iceberg/next-metadata.ts';
import { partitionKey } from './iceberg/partition.ts';
import { retireVersions, sweepCompanion, sweepOrphans, type Thinned, thinVersions } from './iceberg/sweep.ts';
import type { TableState } from './iceberg/table-state.ts';
import { readMemory } from './table-memory.ts';
import type { TableOptions } from './table-options.ts';
import { TableRewrites } from './table-rewrites.ts';
import type { UpkeepNews } from './upkeep-news.ts';

const RETIRE_EVERY_MS = 600_000;
/** Who began to read a version may go on for a day: long queries. */
const READ_AGE_MS = 24 * 3_600_000;
/** Writers look for newer versions at least each hour, and everybody else has read the file by then. */
const METADATA_AGE_MS = 90 * 60_000;
/** It lists everything that the table has. */
const SWEEP_EVERY_MS = 24 * 3_600_000;
const ORPHAN_AGE_MS = 3 * 24 * 3_600_000;
/** When orphans were looked for last, for the next process. */
const SWEPT = 'varve.swept-ms';
/** A daemon that is busy commits again and again, and each time a step of ours by hand may be lost. */
const MOST_LOST = 100;

type UpkeepParts = Pick<TableOptions, 'io' | 'engine' | 'stateLocation' | 'rules' | 'snapshotId'> & {
  commit: (state: TableState, change: Change) => Promise<TableState>;
};

/** A table, and the files of its companion that it names. */
type Kept = { state: TableState; stateFiles: readonly string[] };

const bytesOf = (files: readonly { bytes: number }[]): number =>
  files.reduce((sum, { bytes }) => sum + bytes, 0);

/** The companion's files that some snapshot names: whoever goes back to it needs them again. */
const namedState = ({ metadata }: TableState, now: readonly string[]): ReadonlySet<string> =>
  new Set([
    ...now,
    ...metadata.snapshots.flatMap(({ summary }) => readMemory((key) => summary[key] ?? null).stateFiles),
  ]);

export class TableUpkeep {
  readonly #parts: UpkeepParts;
  readonly #rewrites: TableRewrites;
  #retiredMs = 0;
  #sweptMs = 0;
  #thinned: Thinned = { upTo: 0 };

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#rewrites = new TableRewrites(parts);
  }

  /** Takes over what an earlier process has noted. */
  recall({ properties }: TableState): void {
    this.#sweptMs = Math.max(this.#sweptMs, Number(properties[SWEPT] ?? 0));
  }

  /** For the next commit. */
  get properties(): Record<string, string> {
    return { [SWEPT]: String(this.#sweptMs) };
  }

  /** Of every commit: which snapshots go. */
  get expire(): ExpirePolicy {
    const { keepSnapshots, keepSnapshotsMs } = this.#parts.rules;
    return { maxAgeMs: keepSnapshotsMs, minKeep: 1, maxKeep: keepSnapshots };
  }

  /** `stateFiles`: those of the companion that the table still names. */
  async step(state: TableState, stateFiles: readonly string[]): Promise<Upkeep> {
    const { io, commit } = this.#parts;
    const [plan] = await this.#rewrites.plan(state, io.now());
    if (plan === undefined) return (await this.#clean(state, stateFiles)) ? 'more' : 'done';
    const { snapshot } = await this.#rewrites.rewrite(state, plan);
    const after = await commit(state, { snapshot, expire: this.expire });
    return (await this.#rewrites.isBehind(after)) ? 'behind' : 'more';
  }

  /**
   * Everything that there is to do now, however small, a step at a time. `current` gives the table as it is
   * then; with `dryRun` it is only told. Whoever commits in between wins, and what is left is planned anew.
   */
  async *all(current: () => Kept | null, { dryRun }: { dryRun: boolean }): AsyncGenerator<UpkeepNews> {
    for (let lost = 0; ; lost++) {
      try {
        yield* this.#merges(current, dryRun);
        yield* this.#expiry(current, dryRun);
        yield* this.#deletions(current, dryRun);
        return;
      } catch (thrown) {
        if (asVarveError(thrown).kind !== 'commit_conflict' || lost === MOST_LOST) throw thrown;
      }
    }
  }

  async *#merges(current: () => Kept | null, dryRun: boolean): AsyncGenerator<UpkeepNews> {
    // What comes out as small as it went in (rows too wide to be sorted together) is not tried again.
    const stuck = new Set<string>();
    for (;;) {
      const state = current()?.state;
      if (state === undefined) return;
      const plans = await this.#rewrites.plan(state, Number.POSITIVE_INFINITY);
      if (dryRun) for (const plan of plans) yield this.#rewrites.tell(state, plan, null);
      const plan = plans.find((one) => !stuck.has(partitionKey(one)));
      if (dryRun || plan === undefined) return;
      const { snapshot, news } = await this.#rewrites.rewrite(state, plan);
      await this.#parts.commit(state, { snapshot, expire: this.expire });
      if (news.deletes === 0 && snapshot.add.length >= news.files && plan.specId === state.spec.specId)
        stuck.add(partitionKey(plan));
      yield news;
    }
  }

  async *#expiry(current: () => Kept | null, dryRun: boolean): AsyncGenerator<UpkeepNews> {
    const state = current()?.state;
    const snapshots = state === undefined ? 0 : await this.#expire(state, dryRun);
    if (snapshots > 0) yield { kind: 'expired', snapshots };
  }

  async *#deletions(current: () => Kept | null, dryRun: boolean): AsyncGenerator<UpkeepNews> {
    const kept = current();
    if (kept === null) return;
    const { io } = this.#parts;
    for (;;) {
      const doomed = await retireVersions(io, kept.state, { minAgeMs: READ_AGE_MS, dryRun });
      if (doomed.length > 0) yield { kind: 'retired', files: doomed.length, bytes: bytesOf(doomed) };
      if (doomed.length === 0 || dryRun) break;
    }
    for (let since: Thinned = { upTo: 0 }; ; ) {
      const options = { minAgeMs: METADATA_AGE_MS, dryRun, since };
      const { doomed, thinned } = await thinVersions(io, kept.state, options);
      if (doomed.length > 0) yield { kind: 'thinned', files: doomed.length, bytes: bytesOf(doomed) };
      if (thinned.upTo === since.upTo || dryRun) break;
      since = thinned;
    }
    const orphans = await this.#sweep(kept.state, kept.stateFiles, dryRun);
    if (orphans.length > 0) yield { kind: 'orphans', orphans };
  }

  /** Lets snapshots go that are too old or too many; returns how many. */
  async #expire(state: TableState, dryRun: boolean): Promise<number> {
    const { io, commit } = this.#parts;
    const count = countExpired(state.metadata, this.expire, io.now());
    if (count > 0 && !dryRun) await commit(state, { expire: this.expire });
    return count;
  }

  /** Deletes files that nobody can need any more, some at a time. True: there are more. */
  async #clean(state: TableState, stateFiles: readonly string[]): Promise<boolean> {
    const { io } = this.#parts;
    const nowMs = io.now();
    if (nowMs - this.#retiredMs < RETIRE_EVERY_MS) return false;
    // Whoever commits does it on the way; a table that is left alone grows old as well.
    if ((await this.#expire(state, false)) > 0) return true;
    const retired = await retireVersions(io, state, { minAgeMs: READ_AGE_MS, dryRun: false });
    if (retired.length > 0) return true;
    const options = { minAgeMs: METADATA_AGE_MS, dryRun: false, since: this.#thinned };
    const { doomed, thinned } = await thinVersions(io, state, options);
    this.#thinned = thinned;
    if (doomed.length > 0) return true;
    this.#retiredMs = nowMs;
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return false;
    this.#sweptMs = nowMs;
    await this.#sweep(state, stateFiles, false);
    return false;
  }

  async #sweep(state: TableState, stateFiles: readonly string[], dryRun: boolean) {
    const { io, stateLocation } = this.#parts;
    const options = { minAgeMs: ORPHAN_AGE_MS, dryRun };
    const named = namedState(state, stateFiles);
    return [
      ...(await sweepOrphans(io, state, options)),
      ...(await sweepCompanion(io, stateLocation, { ...options, named })),
    ];
  }
}
