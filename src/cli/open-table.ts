// Owns opening a pipeline's tables as its file says.
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import type { Config } from '../config.ts';
import { type TableChoices, tableChoices } from '../config-table.ts';
import type { FileRules } from '../sinks/parquet/file-layout.ts';
import { openParquetSink } from '../sinks/parquet/sink.ts';
import type { TableRules } from '../sinks/parquet/table-options.ts';
import type { Telemetry } from '../telemetry.ts';
import type { Burial } from './burial.ts';
import { kindOf } from './command.ts';

type OpenedSink = ReturnType<typeof openParquetSink>;

const rulesOf = (choices: TableChoices): Omit<TableRules, 'files'> => ({
  mode: choices.mode,
  write: choices.write,
  collapse: choices.collapse === 'transaction',
  late: choices.late,
  lateWindowMs: choices.late_window_ms,
  keepNoops: choices.mode === 'scd2' && choices.noop === 'keep',
  markDeletes: choices.mode === 'scd2' && choices.on_delete === 'close_and_mark',
  truncates: choices.on_truncate,
  onIncompatible: choices.on_incompatible,
  poison: choices.on_poison,
  keepSnapshots: choices.keep.snapshots,
  keepSnapshotsMs: choices.keep.age_ms,
});

const filesOf = (choices: TableChoices): FileRules => ({
  targetFileBytes: choices.target_file_size,
  compression: choices.compression,
  bucketBy: choices.bucket_by,
  buckets: choices.buckets,
  partitionBy: choices.partition_by,
  owner: choices.owner ?? null,
  tags: choices.tags,
});

/** Where files are made that are stored elsewhere: beside the topic, or where temporary files lie. */
const workDirectoryOf = ({ topic }: Config): string =>
  topic.kind === 'embedded' ? dirname(topic.path) : tmpdir();

/** Null for a pipeline that has only a topic. */
export const openSink = (config: Config, { bury }: Burial, { log }: Telemetry): OpenedSink | null => {
  const { name, table } = config;
  return table === undefined
    ? null
    : openParquetSink({
        place: table,
        workDirectory: workDirectoryOf(config),
        pipeline: name,
        source: kindOf(config),
        memoryBytes: table.memory_limit,
        rules: ({ namespace, name: tableName }) => {
          const choices = tableChoices(table, [namespace, tableName]);
          return { ...rulesOf(choices), files: filesOf(choices) };
        },
        nowMs: Date.now,
        randomId: randomUUID,
        bury,
        onTrouble: (what, cause) => log.warn({ cause: String(cause) }, what),
      });
};
