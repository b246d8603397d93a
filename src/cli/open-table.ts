// Owns opening a pipeline's tables as its file says.
import { randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import { openParquetSink } from '../sinks/parquet/sink.ts';
import type { Sink } from '../sinks/sink.ts';
import type { Telemetry } from '../telemetry.ts';
import type { Burial } from './burial.ts';
import { HOUR_MS } from './command.ts';

/** Null for a pipeline that has only a topic. */
export const openSink = ({ name, table }: Config, { bury }: Burial, { log }: Telemetry): Sink | null =>
  table === undefined
    ? null
    : openParquetSink({
        directory: table.location,
        pipeline: name,
        memoryMb: table.memory_mb,
        collapse: table.same_transaction === 'collapse',
        lateWindowMs: table.late_window_hours * HOUR_MS,
        keepSnapshots: table.keep_snapshots,
        keepSnapshotsMs: table.keep_snapshots_hours * HOUR_MS,
        nowMs: Date.now,
        randomId: randomUUID,
        bury,
        onTrouble: (what, cause) => log.warn({ cause: String(cause) }, what),
      });
