// Owns log lines, counters and health: state changes, never rows, never secrets. One instance a process,
// handed down.
import { type Logger, pino } from 'pino';

/** Every metric there is: what kind it is, and what it tells whom it wakes at night. */
const METRICS = {
  varve_info: ['gauge', 'Always 1; the labels say which pipeline and which version.'],
  varve_state: ['gauge', '1 for the state that the pipeline is in, 0 for all others.'],
  varve_captured_events_total: ['counter', 'Changes made durable in the topic.'],
  varve_checkpoints_total: ['counter', 'Checkpoints made durable.'],
  varve_last_checkpoint_timestamp_seconds: [
    'gauge',
    'When a checkpoint was made durable last; moves on every 10 s while the log is read, ' +
      'also when nothing happens.',
  ],
  varve_capture_lag_seconds: [
    'gauge',
    "From the newest change's commit at the source to its being durable in the topic.",
  ],
  varve_source_behind_bytes: ['gauge', "Bytes of the source's log that are not durable in the topic yet."],
  varve_snapshot_rows: ['gauge', 'Rows read by the snapshot of a table so far.'],
  varve_retries_total: ['counter', 'Failures that were tried again, by kind.'],
  varve_topic_bytes: ['gauge', 'Size of the topic on disk.'],
  varve_worker_tables: ['gauge', 'Tables that this process folds now; over all workers, every table once.'],
  varve_folded_events_total: ['counter', 'Events folded into the table.'],
  varve_table_commits_total: ['counter', 'Commits of the table.'],
  varve_table_last_commit_timestamp_seconds: ['gauge', 'When the table was committed to last.'],
  varve_table_paused: ['gauge', '1: somebody told the table to wait.'],
  varve_table_waiting_records: ['gauge', 'Records of the topic that the table does not hold yet.'],
  varve_dead_records_total: ['counter', 'Records that could not be folded and went to the dead letters.'],
  varve_oversized_records_total: [
    'counter',
    'Records that were too large for their topic, by what became of them.',
  ],
  varve_blocked_tables_total: [
    'counter',
    "Times that a table's changes began to wait because the registry refused their schema.",
  ],
  varve_key_schema_changes_total: [
    'counter',
    "Times that keys went on with another schema's id, and so perhaps in other partitions.",
  ],
  varve_late_events_total: ['counter', 'Events that came after one of a later transaction of their row.'],
  varve_conflicting_events_total: [
    'counter',
    'Events that the table held already and that said something else: somebody else writes there.',
  ],
  varve_incomplete_versions_total: [
    'counter',
    'Versions written with a column whose value could not be had; _incomplete names it.',
  ],
  varve_table_without_key: ['gauge', '1 for a table whose source has no key: a list of events.'],
  varve_duplicate_events_total: ['counter', 'Events that the table held already.'],
  process_resident_memory_bytes: ['gauge', 'Memory of the process, the merge engine not counted.'],
  process_start_time_seconds: ['gauge', 'When the process started.'],
} as const satisfies Record<string, readonly ['counter' | 'gauge', string]>;

type MetricName = keyof typeof METRICS;
type NameOf<Kind> = {
  [Name in MetricName]: (typeof METRICS)[Name][0] extends Kind ? Name : never;
}[MetricName];
type Labels = Readonly<Record<string, string>>;

export type Telemetry = {
  log: Logger;
  /** Adds to a counter. Labels in fixed order. */
  count(name: NameOf<'counter'>, by: number, labels?: Labels): void;
  gauge(name: NameOf<'gauge'>, value: number, labels?: Labels): void;
  /** Prometheus text format, https://prometheus.io/docs/instrumenting/exposition_formats/ */
  render(): string;
};

type LogOptions = { level: string; stream?: { write(line: string): void } };

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };
const labelText = (labels: Labels): string => {
  const parts = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (char) => ESCAPES[char] ?? char)}"`,
  );
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
};

export const makeTelemetry = ({ level, stream }: LogOptions): Telemetry => {
  const values = new Map<MetricName, Map<string, number>>();
  const series = (name: MetricName): Map<string, number> => {
    const known = values.get(name);
    if (known) return known;
    const made = new Map<string, number>();
    values.set(name, made);
    return made;
  };
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  return {
    log: stream ? pino(options, stream) : pino(options, pino.destination({ dest: 2, sync: true })),
    count(name, by, labels = {}) {
      const known = series(name);
      const key = labelText(labels);
      known.set(key, (known.get(key) ?? 0) + by);
    },
    gauge(name, value, labels = {}) {
      series(name).set(labelText(labels), value);
    },
    render() {
      const lines: string[] = [];
      for (const [name, known] of values) {
        const [type, help] = METRICS[name];
        lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
        for (const [labels, value] of known) lines.push(`${name}${labels} ${value}`);
      }
      return `${lines.join('\n')}\n`;
    },
  };
};
