// Owns the recorded Debezium cases: loading them, and comparing records of Varve with them. What a case may
// differ in is a list with a reason for each entry; nothing else may differ.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectDefault, ConnectField, ConnectType } from '../../src/change/schema.ts';
import { type AvroValue, compileReader, FRAME_LENGTH, readSchemaId } from '../../src/topic/avro-read.ts';
import { codecById } from '../../src/topic/compression.ts';
import { readRecords } from '../../src/topic/record-batch.ts';
import type { RecordView } from '../../src/topic/record-batch-view.ts';

export const GOLDEN = join(import.meta.dirname, '../fixtures/golden');

/** JsonConverter's form of a Connect schema. */
export type RecordedConnect = {
  type: string;
  optional?: boolean;
  field?: string;
  name?: string;
  version?: number;
  doc?: string;
  parameters?: Record<string, string>;
  default?: ConnectDefault;
  items?: RecordedConnect;
  values?: RecordedConnect;
  fields?: RecordedConnect[];
};

type RecordedSchema = { connect: RecordedConnect; avro: object | null; avroError?: string };

export type RecordedRecord = {
  topic: string;
  key: unknown;
  keySchema: string | null;
  keyAvro: string | null;
  value: unknown;
  valueSchema: string | null;
  valueAvro: string | null;
  headers: [name: string, value: string][];
};

export type GoldenCase = { records: RecordedRecord[]; schemas: Record<string, RecordedSchema> };

/** A record with its values read and, for comparing, its schemas as text; null values are tombstones. */
export type DecodedRecord = {
  topic: string;
  key: AvroValue;
  keySchema: string | null;
  value: AvroValue;
  valueSchema: string | null;
  headers: (readonly [name: string, value: string])[];
};

/**
 * What Varve does otherwise: `apply` gives the record as Varve has it, null when Varve has none, itself if it
 * is alike; `isExtra` tells a record of Varve that Debezium does not write.
 */
export type Difference = {
  why: string;
  apply?: (record: DecodedRecord) => DecodedRecord | null;
  isExtra?: (record: DecodedRecord) => boolean;
};

export const goldenCases = (database: string): string[] =>
  readdirSync(join(GOLDEN, database), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(GOLDEN, database, entry.name));

export const loadGolden = (caseDir: string): GoldenCase => ({
  records: readFileSync(join(caseDir, 'expected.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RecordedRecord),
  schemas: JSON.parse(readFileSync(join(caseDir, 'schemas.json'), 'utf8')) as GoldenCase['schemas'],
});

const RENAMED: Record<string, ConnectType['type']> = { float: 'float32', double: 'float64' };

const defaultOf = ({ type, default: value }: RecordedConnect): ConnectDefault =>
  type === 'bytes' ? Buffer.from(String(value), 'base64').toString('latin1') : (value as ConnectDefault);

const toField = (recorded: RecordedConnect): ConnectField => ({
  field: recorded.field as string,
  type: toConnectType(recorded),
  optional: recorded.optional === true,
  ...(recorded.default === undefined ? {} : { default: defaultOf(recorded) }),
});

/** The recorded form in our words. */
export const toConnectType = (recorded: RecordedConnect): ConnectType => {
  const { type, name, version, doc, parameters, fields } = recorded;
  const items = recorded.items ?? recorded.values;
  return {
    type: RENAMED[type] ?? (type as ConnectType['type']),
    ...(name === undefined ? {} : { name }),
    ...(version === undefined ? {} : { version }),
    ...(doc === undefined ? {} : { doc }),
    ...(parameters === undefined ? {} : { parameters }),
    ...(items === undefined ? {} : { items: { ...toConnectType(items), optional: items.optional === true } }),
    ...(fields === undefined ? {} : { fields: fields.map(toField) }),
  };
};

const readers = new Map<string, ReturnType<typeof compileReader>>();

const read = (schema: string, bytes: Uint8Array): AvroValue => {
  const known = readers.get(schema) ?? compileReader(schema);
  readers.set(schema, known);
  return known(bytes, 0, bytes.length);
};

/** A recorded record in the form that `decodeBatch` gives. */
export const decodeRecorded = (record: RecordedRecord, { schemas }: GoldenCase): DecodedRecord => {
  const part = (id: string | null, hex: string | null): [AvroValue, string | null] => {
    if (id === null || hex === null) return [null, null];
    const schema = JSON.stringify(schemas[id]?.avro);
    return [read(schema, Uint8Array.from(Buffer.from(hex, 'hex'))), schema];
  };
  const [key, keySchema] = part(record.keySchema, record.keyAvro);
  const [value, valueSchema] = part(record.valueSchema, record.valueAvro);
  return { topic: record.topic, key, keySchema, value, valueSchema, headers: record.headers };
};

/** All records of one finished batch; `schemaOf` gives the schema text of an id. */
export const decodeBatch = (
  topic: string,
  batch: Uint8Array,
  schemaOf: (id: number) => string,
): DecodedRecord[] => {
  const records: DecodedRecord[] = [];
  const part = (bytes: Uint8Array, start: number, end: number): [AvroValue, string | null] => {
    if (start < 0) return [null, null];
    const schema = schemaOf(readSchemaId(bytes, start, end));
    // Not a Buffer, which a decompressed batch is: bytes of both sides are to be alike.
    return [read(schema, Uint8Array.from(bytes.subarray(start + FRAME_LENGTH, end))), schema];
  };
  const visit = (view: RecordView): void => {
    const [key, keySchema] = part(view.bytes, view.keyStart, view.keyEnd);
    const [value, valueSchema] = part(view.bytes, view.valueStart, view.valueEnd);
    const headers = view.headers().map(([name, text]) => [name, Buffer.from(text ?? []).toString()] as const);
    records.push({ topic, key, keySchema, value, valueSchema, headers });
  };
  readRecords(batch, visit, { codec: codecById });
  return records;
};

/** Clocks, positions and versions differ from run to run; everything else is compared. */
const VOLATILE = new Set(['ts_ms', 'ts_us', 'ts_ns']);
const VOLATILE_SOURCE = new Set([...VOLATILE, 'version', 'txId', 'lsn', 'sequence', 'xmin']);

/** A transaction's id has a position in it. */
const maskTransaction = (topic: string, value: AvroValue): AvroValue => {
  const isBoundary = topic.endsWith('.transaction');
  const { id, transaction, ...rest } = value as Record<string, AvroValue>;
  if (isBoundary) return { ...rest, id: 'volatile' };
  if (transaction === null || transaction === undefined) return value;
  return { ...(value as object), transaction: { ...(transaction as object), id: 'volatile' } };
};

const mask = (value: AvroValue, fields: ReadonlySet<string>): AvroValue =>
  Object.fromEntries(
    Object.entries(value as Record<string, AvroValue>).map(([name, part]) => {
      if (fields.has(name)) return [name, 'volatile'];
      return [name, name === 'source' ? mask(part, VOLATILE_SOURCE) : part];
    }),
  );

const isKept = ([name]: readonly [string, string]): boolean => !/^(__debezium\.context|varve)\./.test(name);

/** Records read and records written by hand alike: the reader's have no prototype. */
const plain = (value: AvroValue): AvroValue => {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  const record = value as Readonly<Record<string, AvroValue>>;
  return Object.fromEntries(Object.entries(record).map(([name, part]) => [name, plain(part)]));
};

/** Without what is volatile, without the headers that only one side has. */
const comparable = ({ value, headers, key, ...rest }: DecodedRecord): unknown => ({
  ...rest,
  key: rest.topic.endsWith('.transaction') ? 'volatile' : key,
  value: value === null ? null : plain(mask(maskTransaction(rest.topic, value), VOLATILE)),
  headers: headers.filter(isKept).map(([name, text]) => `${name}: ${text}`),
});

const byTopic = (records: readonly DecodedRecord[]): Map<string, DecodedRecord[]> =>
  Map.groupBy(records, ({ topic }) => topic);

/** Position in the source's log, which rises within a topic; tombstones have none. */
const positionOf = ({ value }: RecordedRecord): number | null =>
  (value as { source?: { lsn?: number } } | null)?.source?.lsn ?? null;

/** The recorded records as Varve has them, those that meet on one topic in the order of the source's log. */
const expectedRecords = (golden: GoldenCase, change: (record: DecodedRecord) => DecodedRecord | null) => {
  let position = 0;
  const placed = golden.records.map((recorded) => {
    position = positionOf(recorded) ?? position;
    return { record: change(decodeRecorded(recorded, golden)), position };
  });
  return placed
    .sort((a, b) => a.position - b.position)
    .flatMap(({ record }) => (record === null ? [] : [record]));
};

/**
 * Throws an AssertionError at the first record that is not as recorded: topics, their records in order, keys,
 * values bar the volatile fields, schemas to the letter, headers bar `__debezium.context.*` and `varve.*`. A
 * difference that never applies is an error too: its reason is gone.
 */
export const compareWithGolden = (
  caseDir: string,
  records: readonly DecodedRecord[],
  differences: readonly Difference[] = [],
): void => {
  const used = new Set<Difference>();
  const expected = expectedRecords(loadGolden(caseDir), (recorded) => {
    let record: DecodedRecord | null = recorded;
    for (const difference of differences) {
      if (record === null || difference.apply === undefined) continue;
      const next = difference.apply(record);
      if (next !== record) used.add(difference);
      record = next;
    }
    return record;
  });
  const kept = records.filter((record) => {
    const extra = differences.find((difference) => difference.isExtra?.(record));
    if (extra !== undefined) used.add(extra);
    return extra === undefined;
  });
  const [ours, theirs] = [byTopic(kept), byTopic(expected)];
  assert.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort(), 'topics');
  for (const [topic, list] of theirs) {
    const got = ours.get(topic) ?? [];
    list.forEach((record, at) => {
      const where = `record ${at} of ${topic}`;
      assert.ok(got[at] !== undefined, `${where} is missing`);
      assert.deepEqual(comparable(got[at]), comparable(record), where);
    });
    assert.equal(got.length, list.length, `records of ${topic}`);
  }
  const stale = differences.filter((difference) => !used.has(difference)).map(({ why }) => why);
  assert.deepEqual(stale, [], 'differences that did not occur');
};
