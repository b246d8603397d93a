// Owns opening a pipeline's tables as its file says.
import { randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import { type TableChoices, tableChoices } from '../config-table.ts';
import { openParquetSink } from '../sinks/parquet/sink.ts';
import type { TableRules } from '../sinks/parquet/table-options.ts';
import type { Sink } from '../sinks/sink.ts';
import type { Telemetry } from '../telemetry.ts';
import type { Burial } from './burial.ts';

const rulesOf = ({ collapse, late_window_ms, keep }: TableChoices): TableRules => ({
  collapse: collapse === 'transaction',
  lateWindowMs: late_window_ms,
  keepSnapshots: keep.snapshots,
  keepSnapshotsMs: keep.age_ms,
});

/** Null for a pipeline that has only a topic. */
export const openSink = ({ name, table }: Config, { bury }: Burial, { log }: Telemetry): Sink | null =>
  table === undefined
    ? null
    : openParquetSink({
        directory: table.location,
        pipeline: name,
        memoryBytes: table.memory_limit,
        rules: ({ namespace, name: tableName }) => rulesOf(tableChoices(table, [namespace, tableName])),
        nowMs: Date.now,
        randomId: randomUUID,
        bury,
        onTrouble: (what, cause) => log.warn({ cause: String(cause) }, what),
      });
