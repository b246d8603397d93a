// Owns which files of a state can hold rows that somebody looks for: by partition, by the manifests' and the
// files' bounds. Reads only the manifests that may name such files, and opens no data file. What is in doubt
// is kept: a file too much costs time, a file too few costs rows.
import type { EngineValue } from '../columns-value.ts';
import type {
  ColumnStats,
  IcebergField,
  IcebergPrimitive,
  LiveFile,
  PartitionField,
  PartitionSpec,
  PartitionValue,
} from '../iceberg-type.ts';
import type { Store } from '../store.ts';
import { type BucketValue, bucketOf, canBucket } from './bucket.ts';
import type { ManifestFile } from './manifest-list.ts';
import { readManifest, type TableState } from './table-state.ts';

/** What a row must have in one column to be looked for; all of a list must hold. */
export type Wish = { field: IcebergField } & (
  | { is: 'equal'; value: Exclude<EngineValue, null> }
  /** At most, at least; not NULL. */
  | { is: 'atMost' | 'atLeast'; value: Exclude<EngineValue, null> }
  /** Above, or NULL, as the end of what has not ended. */
  | { is: 'aboveOrNull'; value: Exclude<EngineValue, null> }
  | { is: 'notNull' }
);

export type FoundFiles = {
  data: readonly LiveFile[];
  /** Position deletes that may hit one of them. */
  deletes: readonly LiveFile[];
  /** Data files and manifests that the whole state has. */
  total: { data: number; manifests: number };
  /** Manifests that had to be read. */
  manifests: readonly string[];
};

type Comparable = number | bigint | string | boolean | Uint8Array;

const bytesOf = (value: Comparable): Uint8Array =>
  value instanceof Uint8Array ? value : Buffer.from(String(value), 'utf8');

/** Negative, zero, positive; NaN where the two have no order. */
const compare = (one: Comparable, other: Comparable): number => {
  if (one instanceof Uint8Array || typeof one === 'string')
    return Buffer.compare(bytesOf(one), bytesOf(other));
  if (one === other) return 0;
  if (one < other) return -1;
  return one > other ? 1 : Number.NaN;
};

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/**
 * A bound as `compare` takes it. A column that was widened has bounds of its narrow form in old files. Null:
 * it says nothing that every writer agrees on.
 */
const readBound = (type: IcebergPrimitive, bytes: Uint8Array): Comparable | null => {
  const { length } = bytes;
  switch (type) {
    case 'boolean':
      return length === 1 ? bytes[0] !== 0 : null;
    case 'int':
    case 'date':
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      if (length === 4) return BigInt(view(bytes).getInt32(0, true));
      return length === 8 ? view(bytes).getBigInt64(0, true) : null;
    case 'float':
    case 'double': {
      if (length !== 4 && length !== 8) return null;
      const value = length === 4 ? view(bytes).getFloat32(0, true) : view(bytes).getFloat64(0, true);
      return Number.isNaN(value) ? null : value;
    }
    case 'string':
    case 'binary':
      return bytes;
    case 'uuid':
      return null;
    default:
      return length === 0
        ? null
        : BigInt.asIntN(length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
  }
};

const comparable = (type: IcebergPrimitive, value: Exclude<EngineValue, null>): Comparable => {
  if (type === 'int' || type === 'date') return BigInt(value as number | bigint);
  return value as Comparable;
};

/** Whether a column with these bounds can hold what is wished for. */
const canHold = (wish: Wish, stats: ColumnStats | undefined): boolean => {
  const { type } = wish.field;
  if (stats === undefined || typeof type !== 'string') return true;
  // Without counts nothing is known of NULLs.
  const isCounted = stats.values > 0;
  const isAllNull = isCounted && stats.nulls === stats.values;
  if (wish.is === 'notNull') return !isAllNull;
  if (wish.is === 'aboveOrNull' && (!isCounted || stats.nulls > 0)) return true;
  if (isAllNull) return false;
  const value = comparable(type, wish.value);
  const lower = stats.lower === undefined ? null : readBound(type, stats.lower);
  const upper = stats.upper === undefined ? null : readBound(type, stats.upper);
  const isBelow = lower !== null && compare(value, lower) < 0;
  const isOver = upper !== null && compare(value, upper) > 0;
  switch (wish.is) {
    case 'equal':
      return !isBelow && !isOver;
    case 'atMost':
      return !isBelow;
    case 'atLeast':
      return !isOver;
    case 'aboveOrNull':
      return !isOver && (upper === null || compare(value, upper) !== 0);
  }
};

const bucketValue = (type: IcebergPrimitive, value: Exclude<EngineValue, null>): BucketValue => {
  if (type === 'uuid') return new Uint8Array(Buffer.from(String(value).replaceAll('-', ''), 'hex'));
  return typeof value === 'number' ? BigInt(value) : (value as BucketValue);
};

/** The partition that a file with such rows has in this field; undefined: any. */
const partitionOf = ({ transform, sourceId }: PartitionField, wish: Wish): PartitionValue | undefined => {
  if (wish.field.id !== sourceId || wish.is !== 'equal') return undefined;
  const { type } = wish.field;
  if (transform === 'identity') return typeof wish.value === 'boolean' ? wish.value : undefined;
  const count = /^bucket\[([0-9]+)\]$/.exec(transform)?.[1];
  if (count === undefined || typeof type !== 'string' || !canBucket(type)) return undefined;
  return bucketOf(type, bucketValue(type, wish.value), Number(count));
};

/** By place in the spec: the one value that files must have there. */
const wantedTuple = (spec: PartitionSpec, wishes: readonly Wish[]): Map<number, PartitionValue> => {
  const wanted = new Map<number, PartitionValue>();
  for (const [at, field] of spec.fields.entries())
    for (const wish of wishes) {
      const value = partitionOf(field, wish);
      if (value !== undefined) wanted.set(at, value);
    }
  return wanted;
};

type Tuples = ReadonlyMap<number, ReadonlyMap<number, PartitionValue>>;

const mayName = ({ specId, partitions }: ManifestFile, tuples: Tuples): boolean =>
  [...(tuples.get(specId) ?? [])].every(([at, value]) => {
    const range = partitions[at];
    if (range === undefined || value === null) return true;
    const type = typeof value === 'boolean' ? 'boolean' : 'int';
    const [lower, upper] = [range.lower_bound, range.upper_bound].map((bytes) =>
      bytes === null ? null : readBound(type, bytes),
    );
    const wanted = comparable(type, value);
    const isBelow = lower != null && compare(wanted, lower) < 0;
    return !isBelow && !(upper != null && compare(wanted, upper) > 0);
  });

const READS_AT_ONCE = 16;

/** Live files that these manifests name. Their entries are kept with the state. */
const readLive = async (
  store: Store,
  { cache, specs }: TableState,
  manifests: readonly ManifestFile[],
): Promise<LiveFile[]> => {
  const missing = manifests.filter(({ path }) => !cache.has(path));
  for (let start = 0; start < missing.length; start += READS_AT_ONCE)
    await Promise.all(
      missing.slice(start, start + READS_AT_ONCE).map(async (manifest) => {
        cache.set(manifest.path, await readManifest(store, manifest, specs));
      }),
    );
  const live = new Map<string, LiveFile>();
  for (const { path } of manifests)
    for (const { status, file } of cache.get(path) ?? []) if (status !== 'deleted') live.set(file.path, file);
  return [...live.values()];
};

const isIn = ({ specId, partition }: LiveFile, tuples: Tuples): boolean =>
  [...(tuples.get(specId) ?? [])].every(([at, value]) => partition[at] == null || partition[at] === value);

const partitionKey = ({ specId, partition }: LiveFile): string => JSON.stringify([specId, partition]);

/**
 * Data files of the state that may hold rows that meet all `wishes`, and the deletes that may hit these rows.
 * Throws table_corrupt, table_foreign.
 */
export const findFiles = async (
  store: Store,
  state: TableState,
  wishes: readonly Wish[],
): Promise<FoundFiles> => {
  const tuples: Tuples = new Map(state.specs.map((spec) => [spec.specId, wantedTuple(spec, wishes)]));
  const named = state.manifests.filter(
    (manifest) => manifest.files.added + manifest.files.existing > 0 && mayName(manifest, tuples),
  );
  const files = await readLive(store, state, named);
  const data = files.filter(
    (file) =>
      file.content === 'data' &&
      isIn(file, tuples) &&
      wishes.every((wish) => canHold(wish, file.stats.get(wish.field.id))),
  );
  const paths = new Set(data.map(({ path }) => path));
  const partitions = new Set(data.map(partitionKey));
  const deletes = files.filter((file) => {
    if (file.content === 'data') return false;
    if (file.referencedDataFile !== null) return paths.has(file.referencedDataFile);
    return partitions.has(partitionKey(file));
  });
  const ofData = state.manifests.filter(({ content }) => content === 'data');
  return {
    data,
    deletes,
    total: {
      data: ofData.reduce((sum, manifest) => sum + manifest.files.added + manifest.files.existing, 0),
      manifests: state.manifests.length,
    },
    manifests: named.map(({ path }) => path),
  };
};
