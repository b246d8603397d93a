// Owns the `table:` part of a pipeline file: where tables are kept, how changes become rows, and what single
// tables do otherwise. Knows the words of the file; opens nothing.
import { z } from 'zod';
import { type TableName, tableText } from './change/schema.ts';

const UNITS: Readonly<Record<string, number>> = { KB: 1 << 10, MB: 1 << 20, GB: 1 << 30 };
const SIZE = /^(\d{1,6})(KB|MB|GB)$/;

/** Bytes, written as `64MB`; binary units. */
const size = (least: string, most: string) => {
  const bytes = (text: string): number => {
    const [, count = '', unit = ''] = SIZE.exec(text) ?? [];
    return Number(count) * (UNITS[unit] ?? Number.NaN);
  };
  return z
    .string()
    .regex(SIZE, 'a size such as 64MB: a whole number and KB, MB or GB')
    .transform(bytes)
    .refine((value) => value >= bytes(least) && value <= bytes(most), `between ${least} and ${most}`);
};

const keep = z.strictObject({
  snapshots: z.number().int().min(2).default(100).describe('Table snapshots kept for time travel.'),
  age_ms: z.number().int().min(60_000).default(432_000_000).describe('Snapshots older than this expire.'),
});

/** What each table may say for itself, without its default. */
const choices = {
  mode: z.enum(['scd2']).describe('scd2: every version of every row.'),
  commit_interval_ms: z.number().int().min(100).max(3_600_000).describe('At most this long between commits.'),
  commit_rows: z.number().int().min(1).max(5_000_000).describe('Commit when this many events wait.'),
  commit_bytes: size('1MB', '1GB').describe('Commit when this much of the topic waits.'),
  collapse: z
    .enum(['transaction', 'none'])
    .describe('Several changes of one row in one transaction: one version, or all of them.'),
  late_window_ms: z
    .number()
    .int()
    .min(1000)
    .describe('Events later than this go to the dead letters: what they would need is forgotten.'),
  keep: keep.describe('Which snapshots of a table stay.'),
};

const overrides = z.strictObject(choices).partial();

export const tableSchema = z.strictObject({
  location: z.string().min(1).describe('Directory of the tables: <location>/<schema>/<table>.'),
  memory_limit: size('256MB', '64GB')
    .prefault('512MB')
    .describe('Memory of the merge engine; its process takes some 200 MB more.'),
  mode: choices.mode.default('scd2'),
  commit_interval_ms: choices.commit_interval_ms.default(10_000),
  commit_rows: choices.commit_rows.default(500_000),
  commit_bytes: choices.commit_bytes.prefault('256MB'),
  collapse: choices.collapse.default('transaction'),
  late_window_ms: choices.late_window_ms.default(86_400_000),
  keep: choices.keep.default(keep.parse({})),
  tables: z
    .record(z.string().regex(/^[^.]+\..+$/s, 'a table is written schema.table'), overrides)
    .default({})
    .describe('What single tables do otherwise, by schema.table.'),
});

export type TableConfig = Readonly<z.output<typeof tableSchema>>;
/** How one table is folded. */
export type TableChoices = Omit<TableConfig, 'location' | 'memory_limit' | 'tables'>;

/** As the file says it for this table, or for all. */
export const tableChoices = (config: TableConfig, table: TableName): TableChoices => {
  const { location: _location, memory_limit: _limit, tables, ...all } = config;
  return { ...all, ...tables[tableText(table)] } as TableChoices;
};
