// Owns the `table:` part of a pipeline file: where tables are kept, how changes become rows, and what single
// tables do otherwise. Knows the words of the file; opens nothing.
import { z } from 'zod';
import { type TableName, tableText } from './change/schema.ts';
import { place, s3Choices } from './config-place.ts';
import { size } from './config-size.ts';
import { catalogChoices } from './config-table-catalog.ts';
import { fileChoices, fileDefaults } from './config-table-files.ts';
import { isS3 } from './sinks/parquet/s3-place.ts';

const keep = z.strictObject({
  snapshots: z.number().int().min(2).default(100).describe('Table snapshots kept for time travel.'),
  age_ms: z.number().int().min(60_000).default(432_000_000).describe('Snapshots older than this expire.'),
});

/** What each table may say for itself, without its default. */
const choices = {
  mode: z
    .enum(['scd2', 'latest', 'append'])
    .describe('scd2: every version of every row; latest: each row as it is; append: one row an event.'),
  write: z
    .enum(['merge_on_read', 'copy_on_write'])
    .describe('merge_on_read: rows go by delete files; copy_on_write: files are written again without them.'),
  commit_interval_ms: z.number().int().min(100).max(3_600_000).describe('At most this long between commits.'),
  commit_rows: z.number().int().min(1).max(5_000_000).describe('Commit when this many events wait.'),
  commit_bytes: size('1MB', '1GB').describe('Commit when this much of the topic waits.'),
  collapse: z
    .enum(['transaction', 'none'])
    .describe('Several changes of one row in one transaction: one version, or all of them.'),
  late: z
    .enum(['apply', 'drop', 'dlq'])
    .describe('A change that comes after a later one of its row: put in its place, dropped, a dead letter.'),
  late_window_ms: z
    .number()
    .int()
    .min(1000)
    .describe('Events later than this go to the dead letters: what they would need is forgotten.'),
  noop: z.enum(['drop', 'keep']).describe('An update that changes nothing: no version, or one of its own.'),
  on_delete: z
    .enum(['close', 'close_and_mark'])
    .describe('A delete ends the version that stood; or it also leaves a row of no length that says so.'),
  on_truncate: z
    .enum(['close', 'ignore', 'fail'])
    .describe('A truncate ends every version that stood, is passed over, or stops the table.'),
  on_incompatible: z
    .enum(['fail', 'new_column'])
    .describe("A column's new type that its table's column cannot hold: stop, or a column of its own."),
  on_poison: z
    .enum(['dlq', 'stop'])
    .describe('A record that cannot be folded goes to the dead letters, or stops the table.'),
  consistent: z
    .boolean()
    .describe('Each commit holds whole transactions: the table is always as the source was at one moment.'),
  keep: keep.describe('Which snapshots of a table stay.'),
  ...fileChoices,
};

const overrides = z.strictObject(choices).partial();

export const tableSchema = z
  .strictObject({
    location: place.describe('Directory of the tables, or s3://bucket/prefix: <location>/<schema>/<table>.'),
    s3: s3Choices
      .optional()
      .describe('How the object store of s3:// is reached; credentials are never in the file.'),
    catalog: catalogChoices
      .optional()
      .describe('Through which catalog tables are committed; absent: our own files are the catalog.'),
    memory_limit: size('256MB', '64GB')
      .prefault('512MB')
      .describe('Memory of the merge engine; its process takes some 200 MB more.'),
    mode: choices.mode.default('scd2'),
    write: choices.write.default('merge_on_read'),
    commit_interval_ms: choices.commit_interval_ms.default(10_000),
    commit_rows: choices.commit_rows.default(500_000),
    commit_bytes: choices.commit_bytes.prefault('256MB'),
    collapse: choices.collapse.default('transaction'),
    late: choices.late.default('apply'),
    late_window_ms: choices.late_window_ms.default(86_400_000),
    noop: choices.noop.default('drop'),
    on_delete: choices.on_delete.default('close'),
    on_truncate: choices.on_truncate.default('close'),
    on_incompatible: choices.on_incompatible.default('fail'),
    on_poison: choices.on_poison.default('dlq'),
    consistent: choices.consistent.default(false),
    keep: choices.keep.default(keep.parse({})),
    ...fileDefaults,
    tables: z
      .record(z.string().regex(/^[^.]+\..+$/s, 'a table is written schema.table'), overrides)
      .default({})
      .describe('What single tables do otherwise, by schema.table.'),
  })
  .refine(({ location, s3: said }) => said === undefined || isS3(location), {
    path: ['s3'],
    message: 'only where location is s3://bucket/prefix',
  });

export type TableConfig = Readonly<z.output<typeof tableSchema>>;
/** How one table is folded. */
export type TableChoices = Omit<TableConfig, 'location' | 's3' | 'catalog' | 'memory_limit' | 'tables'>;

/** As the file says it for this table, or for all. */
export const tableChoices = (config: TableConfig, table: TableName): TableChoices => {
  const { location: _place, s3: _s3, catalog: _catalog, memory_limit: _limit, tables, ...all } = config;
  return { ...all, ...tables[tableText(table)] } as TableChoices;
};
