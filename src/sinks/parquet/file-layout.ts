// Owns how a table's files are laid out: partitioning, order, codec, size; what people ask for, and what of
// it the table does not have yet. Decides; writes nothing.
import { VarveError } from '../../errors.ts';
import type { TableLayout } from './columns-layout.ts';
import type { FileFormat } from './engine/protocol.ts';
import { canBucket } from './iceberg/bucket.ts';
import type { Change } from './iceberg/commit.ts';
import { bucketsOf, partitionType } from './iceberg/partition.ts';
import { partitionName, type WantedPartition } from './iceberg/schema.ts';
import type { TableState } from './iceberg/table-state.ts';
import type { IcebergField, LiveFile, PartitionField } from './iceberg-type.ts';

/** What people decide for the files of one table. */
export type FileRules = {
  targetFileBytes: number;
  compression: FileFormat['compression'];
  /** `auto`, `none`, or the name of a key column. */
  bucketBy: string;
  buckets: number | 'auto';
  /** `column`, `day(column)` or `hour(column)`. */
  partitionBy: readonly string[];
  owner: string | null;
  tags: Readonly<Record<string, string>>;
};

export const DEFAULT_FILES: FileRules = {
  targetFileBytes: 128 << 20,
  compression: 'zstd',
  bucketBy: 'auto',
  buckets: 'auto',
  partitionBy: [],
  owner: null,
  tags: {},
};

type Size = { rows: number; bytes: number };

const ROWS_A_BUCKET = 5_000_000;
const BYTES_A_BUCKET = 256 << 20;
const MAX_BUCKETS = 1024;
const TAG = 'varve.tag.';

/** Data that stands now: what buckets are counted for. */
export const currentSize = (files: Iterable<LiveFile>): Size => {
  const size = { rows: 0, bytes: 0 };
  for (const { content, partition, records, bytes } of files) {
    if (partition[0] === false) continue;
    size.rows += content === 'data' ? records : -records;
    if (content === 'data') size.bytes += bytes;
  }
  return size;
};

const refuse = (sentence: string, key: string): VarveError =>
  new VarveError('config_invalid', sentence, { facts: { key } });

const namesOf = (fields: readonly IcebergField[]): string => fields.map(({ name }) => name).join(', ');

const bucketCount = ({ rows, bytes }: Size): number => {
  const wanted = Math.max(1, rows / ROWS_A_BUCKET, bytes / BYTES_A_BUCKET);
  return Math.min(MAX_BUCKETS, 2 ** Math.ceil(Math.log2(wanted)));
};

type Wish = { layout: TableLayout; rules: FileRules; topic: string; state: TableState | null; size: Size };

/** The buckets that the table has now. */
const storedBuckets = ({ state }: Wish): PartitionField | null =>
  state?.spec.fields.find(({ transform }) => bucketsOf(transform) !== null) ?? null;

const bucketColumn = (wish: Wish): IcebergField | null => {
  const { layout, rules, topic } = wish;
  const { bucketBy } = rules;
  if (bucketBy === 'none' || (bucketBy === 'auto' && layout.mode === 'append')) return null;
  const key = layout.fields.filter(({ id }) => layout.key.includes(id));
  const able = layout.key
    .map((id) => key.find((field) => field.id === id))
    .filter((field) => field !== undefined && canBucket(field.type)) as IcebergField[];
  const stored = storedBuckets(wish);
  const known = able.find(({ id }) => id === stored?.sourceId);
  if (bucketBy === 'auto') return known ?? able[0] ?? null;
  const named = able.find(({ name }) => name === bucketBy);
  if (named !== undefined) return named;
  // The column may have been renamed at the source since the table was laid out by it.
  if (stored?.name.startsWith(partitionName(bucketBy, stored.transform)) && known !== undefined) return known;
  throw refuse(
    `table.bucket_by: ${bucketBy} is no column of the key of ${topic} that buckets can be made of ` +
      `(${able.length === 0 ? 'it has none' : namesOf(able)}). Name one of those, auto, or none.`,
    'bucket_by',
  );
};

/** A bucket count that Varve chose only grows: files of the old count stay until they are rewritten. */
const bucketPartition = (wish: Wish): WantedPartition[] => {
  const { rules, size, topic } = wish;
  const column = bucketColumn(wish);
  if (column === null) {
    if (rules.buckets === 'auto') return [];
    throw refuse(
      `table.buckets: ${rules.buckets} for ${topic}, which has no column for them. Say buckets: auto.`,
      'buckets',
    );
  }
  const stored = storedBuckets(wish);
  const least = stored?.sourceId === column.id ? (bucketsOf(stored.transform) ?? 1) : 1;
  const count = rules.buckets === 'auto' ? Math.max(least, bucketCount(size)) : rules.buckets;
  return [{ sourceId: column.id, transform: `bucket[${count}]` }];
};

const isTime = ({ transform }: WantedPartition): boolean => transform === 'day' || transform === 'hour';

const chosenPartition = ({ layout, state, topic }: Wish, text: string): WantedPartition => {
  const [, transform = 'identity', inner] = /^(day|hour|identity)\((.+)\)$/.exec(text) ?? [];
  const name = inner ?? text;
  const column = layout.fields.find((field) => field.name === name);
  // The column may have been renamed at the source since the table was laid out by it.
  const known = state?.spec.fields.find((field) => field.name === partitionName(name, transform));
  if (column === undefined && known?.transform === transform) return known;
  if (column === undefined)
    throw refuse(
      `table.partition_by: ${topic} has no column ${name} (it has ${namesOf(layout.fields)}).`,
      'partition_by',
    );
  if (partitionType(transform, column.type) !== null) return { sourceId: column.id, transform };
  const type = typeof column.type === 'string' ? column.type : 'list';
  throw refuse(
    `table.partition_by: ${text} of ${topic}: ${name} is ${type}. A column itself is taken of boolean, ` +
      'int, long, date and string; day of date, timestamp and timestamptz; hour of the last two.',
    'partition_by',
  );
};

const wantedPartition = (wish: Wish): readonly WantedPartition[] => {
  const { layout, rules, topic } = wish;
  const current = layout.fields.find(({ name }) => name === 'is_current');
  // Only history is kept apart, where there is one.
  const isApart = layout.mode === 'scd2' && current !== undefined;
  const all: WantedPartition[] = isApart ? [{ sourceId: current.id, transform: 'identity' }] : [];
  all.push(...bucketPartition(wish));
  for (const text of rules.partitionBy) {
    const one = chosenPartition(wish, text);
    const again = all.find(
      (other) =>
        other.sourceId === one.sourceId &&
        (other.transform === one.transform || (isTime(other) && isTime(one))),
    );
    const type = layout.fields.find(({ id }) => id === one.sourceId)?.type;
    if (again !== undefined)
      throw refuse(`table.partition_by: ${text} of ${topic} says again what ${again.transform} says.`, text);
    if (all.length === 0 && one.transform === 'identity' && type === 'boolean')
      throw refuse(
        `table.partition_by: ${text} of ${topic} cannot come first: where the first value is true or ` +
          'false, it tells history from what stands. Put another one before it.',
        text,
      );
    all.push(one);
  }
  return all;
};

/** Types that all readers sort as the engine does: NaN, -0 and the halves of a uuid they see differently. */
const SORTED_ALIKE = /^(boolean|int|long|date|time|timestamp|timestamptz|string|binary|decimal\(.*)$/;

/** Field ids by which every file is sorted, rising: the key, then the order; events by their order alone. */
export const sortedBy = ({ mode, fields, key }: TableLayout): readonly number[] => {
  const order = fields.filter(({ name }) => name === '_order').map(({ id }) => id);
  return mode === 'append' ? order : [...key, ...order];
};

/** As far as it is true for every reader. */
const wantedSort = (layout: TableLayout): readonly number[] => {
  const sort = sortedBy(layout);
  const isAlike = (id: number): boolean => {
    const type = layout.fields.find((field) => field.id === id)?.type;
    return typeof type === 'string' && SORTED_ALIKE.test(type);
  };
  const end = sort.findIndex((id) => !isAlike(id));
  return end < 0 ? sort : sort.slice(0, end);
};

const CODEC = 'write.parquet.compression-codec';
const TARGET_BYTES = 'write.target-file-size-bytes';

/** Null removes. */
const wantedProperties = (
  { rules, state }: Wish,
  lineage: Readonly<Record<string, string>>,
): Record<string, string | null> => {
  const tags = Object.entries(rules.tags).map(([name, value]) => [`${TAG}${name}`, value]);
  const gone = Object.keys(state?.properties ?? {}).filter((key) => key.startsWith(TAG));
  return {
    ...Object.fromEntries(gone.map((key) => [key, null])),
    ...Object.fromEntries(tags),
    ...(rules.owner === null ? {} : { owner: rules.owner }),
    ...lineage,
    [CODEC]: rules.compression === 'none' ? 'uncompressed' : rules.compression,
    [TARGET_BYTES]: String(rules.targetFileBytes),
  };
};

/** How new files of the table are written. */
export const storedFormat = ({ properties, metadata }: TableState): FileFormat => {
  const codec = properties[CODEC] ?? 'zstd';
  const known = ['zstd', 'snappy', 'lz4', 'gzip'] as const;
  return {
    compression: codec === 'uncompressed' ? 'none' : (known.find((one) => one === codec) ?? 'zstd'),
    sortOrderId: metadata['default-sort-order-id'],
  };
};

type Asked = Omit<Wish, 'state'> & {
  /** Where the rows come from, as properties. */
  lineage: Readonly<Record<string, string>>;
};

type FileLayout = {
  partition: readonly WantedPartition[];
  sort: readonly number[];
  properties: Record<string, string | null>;
};

const wantedLayout = (wish: Wish, lineage: Asked['lineage']): FileLayout => ({
  partition: wantedPartition(wish),
  sort: wantedSort(wish.layout),
  properties: wantedProperties(wish, lineage),
});

/** Of a new table. Throws `config_invalid` for what its columns cannot do. */
export const newLayout = (asked: Asked) => {
  const { partition, sort, properties } = wantedLayout({ ...asked, state: null }, asked.lineage);
  return { partition, sort, properties: properties as Record<string, string> };
};

const isSame = (state: TableState, { partition, sort, properties }: FileLayout): boolean => {
  const { metadata, spec } = state;
  const order = metadata['sort-orders'].find((one) => one['order-id'] === metadata['default-sort-order-id']);
  const place = ({ sourceId, transform }: WantedPartition): string => `${sourceId} ${transform}`;
  return (
    partition.map(place).join() === spec.fields.map(place).join() &&
    sort.join() === (order?.fields ?? []).map((field) => field['source-id']).join() &&
    Object.entries(properties).every(([key, value]) => (state.properties[key] ?? null) === value)
  );
};

/**
 * What makes an existing table as it is asked for from its next file on; null: it is so. Older files stay as
 * they are until they are rewritten. Throws `config_invalid`.
 */
export const layoutChange = (
  state: TableState,
  asked: Asked,
): (FileLayout & Pick<Change, 'columns'>) | null => {
  const wanted = wantedLayout({ ...asked, state }, asked.lineage);
  return isSame(state, wanted) ? null : { ...wanted, columns: asked.layout.fields };
};
