// Owns where Varve is not as recorded: which cases wait for a mode that Varve does not have, what a case
// needs to start at all, and every difference with its reason. docs/debezium.md tells the same to users.
import type { AvroValue } from '../../src/topic/avro-read.ts';
import type { DecodedRecord, Difference } from '../support/golden.ts';
import type { GoldenOptions } from '../support/golden-run.ts';

/** Recorded cases that are not run, with the reason. */
export const OUT_OF_SCOPE: ReadonlyMap<string, string> = new Map([
  ['incremental-snapshot', 'Debezium is asked by a signal table; Varve re-reads on a command'],
  ['logical-message', 'messages of pg_logical_emit_message are not published'],
]);

const identity = 'Varve itself publishes no table whose updates would then fail in the source';

/** Debezium's settings that Varve has, by what `topic.format` calls them. */
const SETTINGS: Readonly<Record<string, (value: string) => Readonly<Record<string, unknown>>>> = {
  'binary.handling.mode': (binary) => ({ binary }),
  'decimal.handling.mode': (decimal) => ({ decimal }),
  'field.name.adjustment.mode': (names) => ({ names }),
  'heartbeat.interval.ms': (ms) => ({ heartbeat_ms: Number(ms) }),
  'hstore.handling.mode': (hstore) => ({ hstore }),
  'include.unknown.datatypes': (asked) => ({ unknown_types: asked === 'true' ? 'bytes' : 'omit' }),
  'interval.handling.mode': (interval) => ({ interval }),
  'provide.transaction.metadata': (asked) => ({ transaction_topic: asked === 'true' }),
  'time.precision.mode': (time) => ({ time }),
};

/** Settings that have nothing to do with the records' form, or whose form is the only one Varve has. */
const OTHER_SETTINGS = new Set([
  'extended.headers.enabled',
  // One name of Varve's stands for both.
  'schema.name.adjustment.mode',
  'schema.refresh.mode',
  // See OPTIONS.
  'skipped.operations',
  'snapshot.mode',
]);

/** The `topic.format` that a recorded case asks for. Throws for a setting that nobody thought of. */
export const formatOf = (settings: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> =>
  Object.assign(
    {},
    ...Object.entries(settings).map(([key, value]) => {
      const said = SETTINGS[key];
      if (said === undefined && !OTHER_SETTINGS.has(key)) throw new Error(`Varve has nothing for ${key}`);
      return said?.(value) ?? {};
    }),
  );

/** What differs from the defaults of a pipeline file, with the reason. */
export const OPTIONS: ReadonlyMap<string, GoldenOptions & { why: string }> = new Map([
  ['ddl-columns', { why: 'a column with a default fills rows without events', onRewrite: 'ignore' }],
  ['quoted-identifiers-none', { why: 'names that Avro does not have are refused', tables: ['public.*'] }],
  ['no-key', { why: identity, publication: 'never' }],
  ['replident-nothing', { why: identity, publication: 'never' }],
  ['snapshot-no-data', { why: 'snapshot.mode no_data', mode: 'never' }],
  ['types-text', { why: 'the catalog told the labels of the enum as they were', stepwise: true }],
]);

type Row = Record<string, AvroValue>;
type Value = { before: Row | null; after: Row | null; op: string; source: Row };
type AvroField = { name: string; type: unknown; default?: unknown };
type AvroEnvelope = { fields: [{ type: ['null', { fields: AvroField[] }] }] };

const envelopeOf = (record: DecodedRecord): Value | null => record.value as Value | null;

const withSource = (record: DecodedRecord, changes: Row): DecodedRecord => {
  const value = envelopeOf(record);
  return value === null
    ? record
    : { ...record, value: { ...value, source: { ...value.source, ...changes } } as never };
};

const withAfter = (record: DecodedRecord, after: Row): DecodedRecord => ({
  ...record,
  value: { ...envelopeOf(record), after } as never,
});

/** Another set of columns in the row's schema. */
const withFields = (record: DecodedRecord, change: (fields: AvroField[]) => AvroField[]): DecodedRecord => {
  if (record.valueSchema === null) return record;
  const schema = JSON.parse(record.valueSchema) as AvroEnvelope;
  const row = schema.fields[0].type[1];
  row.fields = change(row.fields);
  return { ...record, valueSchema: JSON.stringify(schema) };
};

/** The row `id` as `op` wrote it has `ours` in `column`. */
const differs = (why: string, column: string, rows: readonly [op: string, id: number, ours: AvroValue][]) =>
  rows.map(
    ([op, id, ours]): Difference => ({
      why: `${why} (${column}, ${op} ${id})`,
      apply: (record) => {
        const value = envelopeOf(record);
        if (value?.op !== op || value.after?.id !== id) return record;
        return withAfter(record, { ...value.after, [column]: ours });
      },
    }),
  );

type TextColumn = { name: string; behind: string; values: Readonly<Record<number, string | null>> };

/** Debezium leaves out the column's type; `values` by id, as Varve has them in snapshot and stream alike. */
const textColumn = ({ name, behind, values }: TextColumn): Difference => ({
  why: `types that Debezium does not know are published as text (${name})`,
  apply: (record) => {
    const after = envelopeOf(record)?.after;
    if (!after) return record;
    const added = withAfter(record, { ...after, [name]: values[Number(after.id) % 100] ?? null });
    return withFields(added, (fields) => {
      const at = fields.findIndex((field) => field.name === behind) + 1;
      return fields.toSpliced(at, 0, { name, type: ['null', 'string'], default: null });
    });
  },
});

const GENERATED: Difference = {
  why: 'the log does not carry generated columns, so the snapshot does not either',
  apply: (record) => {
    const after = envelopeOf(record)?.after;
    if (!after || !('b' in after)) return record;
    const { b: _generated, ...rest } = after;
    return withFields(withAfter(record, rest), (fields) => fields.filter(({ name }) => name !== 'b'));
  },
};

const ROOT = 'golden.public.p';

const PARTITIONS: readonly Difference[] = [
  {
    why: 'the snapshot has rows of partitions once',
    apply: (record) => (record.topic !== ROOT && envelopeOf(record)?.op === 'r' ? null : record),
  },
  {
    why: 'rows of partitions go to the topic of the partitioned table',
    apply: (record) => {
      if (record.topic === ROOT) return record;
      const rooted = (text: string | null): string | null => text?.replaceAll(record.topic, ROOT) ?? null;
      const { keySchema, valueSchema } = record;
      const moved = {
        ...record,
        topic: ROOT,
        keySchema: rooted(keySchema),
        valueSchema: rooted(valueSchema),
      };
      return withSource(moved, { table: 'p' });
    },
  },
];

const ONLY_TABLE: Difference = {
  why: 'the partitioned table is the only one, so its last row is the last of all',
  apply: (record) =>
    envelopeOf(record)?.source.snapshot === 'last_in_data_collection'
      ? withSource(record, { snapshot: 'last' })
      : record,
};

const TRUNCATES: Difference = {
  why: 'truncates are published, not skipped',
  isExtra: (record) => envelopeOf(record)?.op === 't',
};

const UNNAMED: readonly Difference[] = [
  {
    why: 'a table with names that Avro does not have is refused: no registry takes its schema',
    apply: (record) => (record.topic === 'golden.My_Schema.Order_Lines.v2' ? null : record),
  },
  {
    why: 'without it, another table is read first',
    apply: (record) =>
      record.topic === 'golden.public.UPPER' && envelopeOf(record)?.op === 'r'
        ? withSource(record, { snapshot: 'first' })
        : record,
  },
];

const isHeartbeat = ({ topic }: DecodedRecord): boolean => topic.startsWith('__debezium-heartbeat.');

const BOUNDARIES: readonly Difference[] = [
  {
    why: 'the recording ended between the recorder and its own last row',
    apply: (record) =>
      record.topic === 'golden.transaction' && (record.key as Row | null)?.id === '1121:145468528'
        ? null
        : record,
  },
  {
    why: 'heartbeats come by the clock, so their number is not compared',
    apply: (record) => (isHeartbeat(record) ? null : record),
    isExtra: isHeartbeat,
  },
];

const NEGATIVE_SCALE: Difference = {
  why: 'a negative scale has no Avro form: the digits are spelt out instead (the schema)',
  apply: (record) =>
    withFields(record, (fields) =>
      fields.map((field) => {
        if (field.name !== 'c_num_neg') return field;
        const text = JSON.stringify(field)
          .replace(/"scale":\d+,"precision":\d+/, '"scale":0,"precision":6')
          .replace(/"scale":"\d+"/, '"scale":"0"')
          .replace(/"connect.decimal.precision":"\d+"/, '"connect.decimal.precision":"6"');
        return JSON.parse(text) as AvroField;
      }),
    ),
};

const scale = 'a negative scale has no Avro form: the digits are spelt out instead';
const julian = 'the snapshot reads dates before 1582-10-15 by another calendar than the stream';
const infinite = 'the snapshot has other numbers for infinity than the stream';
const overflow = 'microseconds past 64 bits wrap around; the highest number stands in, the text is beside it';
const isName = 'the stream loses values of the type name';
const isDefault = 'a NULL is published as the default of the column';
const notNumber = 'NaN and infinity become NULL; zero stands in, the text is beside it';
const ZERO = Uint8Array.of(0);

const QUERY = "'fat' & ( 'cat' | 'rat' )";

const BY_CASE: Readonly<Record<string, readonly Difference[]>> = {
  'defaults-notnull': [
    ...differs(isDefault, 'n_uuid', [['c', 2, null]]),
    ...differs(isDefault, 'n_txt_q', [['u', 1, null]]),
    ...differs(isDefault, 'n_json', [['u', 1, null]]),
  ],
  'generated-columns': [GENERATED],
  partitions: [...PARTITIONS, ONLY_TABLE],
  'quoted-identifiers-none': UNNAMED,
  'truncate-skipped': [TRUNCATES],
  'tx-metadata-heartbeat': BOUNDARIES,
  'types-extension': [
    textColumn({ name: 'c_lquery', behind: 'c_ltree', values: { 1: '*.Science.*', 2: '*' } }),
  ],
  'types-geo-range-fts': [
    textColumn({ name: 'c_tsq', behind: 'c_tsv', values: { 1: QUERY } }),
    textColumn({ name: 'c_i4mr', behind: 'c_dr', values: { 1: '{[1,3),[5,8)}', 2: '{}' } }),
  ],
  'types-numeric-nan-precise': [
    ...differs(notNumber, 'c_num', [
      ['c', 2, { scale: 0, value: ZERO }],
      ['c', 4, { scale: 0, value: ZERO }],
    ]),
    ...differs(notNumber, 'c_num_12_2', [['c', 3, ZERO]]),
  ],
  'types-numeric-negative-scale': [
    NEGATIVE_SCALE,
    ...differs(scale, 'c_num_neg', [
      ['r', 1, Uint8Array.of(0x01, 0xe2, 0x6c)],
      ['c', 2, Uint8Array.of(0xf0, 0xbe, 0x24)],
    ]),
  ],
  'types-temporal': differs(julian, 'c_date', [['r', 4, -141_432]]),
  'types-temporal-extreme': [
    ...differs(infinite, 'c_date', [
      ['r', 1, 2_146_033_979],
      ['r', 2, -2_147_472_691],
    ]),
    ...differs(julian, 'c_date', [
      ['r', 3, -735_160],
      ['r', 4, -2_440_550],
      ['r', 6, -719_163],
    ]),
    ...differs(overflow, 'c_ts', [['c', 107, 2n ** 63n - 1n]]),
  ],
  'types-text': differs(isName, 'c_name', [
    ['c', 101, 'some_name'],
    ['c', 102, ''],
  ]),
};

/** All differences of a case. */
export const differencesOf = (name: string): readonly Difference[] => BY_CASE[name] ?? [];
