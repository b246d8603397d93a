// Owns what one table is opened with: where it lies, what works for it, and how its changes become versions.
// Words only.
import type { DeadRecord } from '../sink.ts';
import type { IncompatiblePolicy, TableMode } from './columns-layout.ts';
import type { Engine } from './engine/engine.ts';
import type { MergeRules, WriteWay } from './engine/protocol.ts';
import type { FileRules } from './file-layout.ts';
import type { TableIo } from './iceberg/table-state.ts';

/** What people decide for one table. */
export type TableRules = MergeRules & {
  mode: TableMode;
  write: WriteWay;
  onIncompatible: IncompatiblePolicy;
  /** Changes that come later than this after newer ones are too late. */
  lateWindowMs: number;
  keepSnapshots: number;
  keepSnapshotsMs: number;
  files: FileRules;
};

export type TableOptions = {
  io: TableIo;
  engine: Engine;
  /** URIs of the table and of its companion for what has no row. */
  location: string;
  stateLocation: string;
  /** For people and for dead letters. */
  topic: string;
  /** Where the rows come from, as properties of the table. */
  lineage: Readonly<Record<string, string>>;
  rules: TableRules;
  snapshotId: () => bigint;
  /** Resolves when they are durable. */
  bury: (topic: string, dead: readonly DeadRecord[]) => Promise<void>;
};
