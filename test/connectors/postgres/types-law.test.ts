// Every value a real server prints for a type is encoded, read back by a foreign Avro implementation, and
// compared with what the server itself computes from the value by arithmetic, not by text.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import type pg from 'pg';
import { Catalog } from '../../../connectors/postgres/catalog.ts';
import { avroSchema } from '../../../src/topic/avro-schema.ts';
import type { PreparedTable } from '../../../src/topic/prepared-table.ts';
import { avroType } from '../../support/avsc.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { encodeWith, openPinned } from './types-encoding.ts';

type Law = {
  type: string;
  /** Literals of the type. */
  values: fc.Arbitrary<string>;
  /** SQL over `v` that gives the truth as text. */
  truth: string;
  /** The decoded value in the form of the truth. */
  show: (value: unknown) => string;
  /** Whether the encoding is said to hold the value, by the server's text; always, if absent. */
  exact?: (text: string) => boolean;
};

const unscaled = (bytes: Uint8Array): bigint => {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  value = BigInt.asIntN(bytes.length * 8, value);
  // The shortest form there is: dropping the first byte would change the value.
  const rest = bytes.length > 1 ? BigInt.asIntN((bytes.length - 1) * 8, value) : null;
  assert.notEqual(rest, value, 'a decimal is longer than it need be');
  return value;
};

const decimalText = (value: bigint, scale: number): string => {
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0');
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return value < 0n ? `-${text}` : text;
};

const doubleHex = (value: number): string => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigUint64(0).toString(16).padStart(16, '0');
};

const floatHex = (value: number): string => {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint32(0).toString(16).padStart(8, '0');
};

/** Little-endian bytes as a bit string of at least `width` characters. */
const bitText = (bytes: Uint8Array, width: number): string =>
  [...bytes]
    .reverse()
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('')
    .replace(/^0+/, '')
    .padStart(width, '0');

/** Microseconds of an ISO text with Z, by the language's own calendar. */
const isoMicros = (text: string): string => {
  const found = /^([+-]?\d+)-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?Z$/.exec(text);
  assert.ok(found, text);
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number) as number[];
  const date = new Date(Date.UTC(2000, (month as number) - 1, day, hour, minute, second));
  date.setUTCFullYear(year as number, (month as number) - 1, day);
  return String(BigInt(date.getTime()) * 1000n + BigInt((found[7] ?? '').padEnd(6, '0')));
};

const pad = (value: number, width = 2): string => String(value).padStart(width, '0');
const fraction = (digits: number): fc.Arbitrary<string> =>
  fc
    .option(fc.integer({ min: 0, max: 10 ** digits - 1 }))
    .map((f) => (f === null ? '' : `.${pad(f, digits)}`));
const clock = (digits: number): fc.Arbitrary<string> =>
  fc
    .tuple(fc.nat(23), fc.nat(59), fc.nat(59), fraction(digits))
    .map(([h, m, s, f]) => `${pad(h)}:${pad(m)}:${pad(s)}${f}`);
/** Days that exist in every month; `last` years after Christ, 4712 before. */
const day = (last: number): fc.Arbitrary<{ date: string; era: string }> =>
  fc
    .tuple(
      fc.oneof(fc.integer({ min: 1500, max: 2300 }), fc.integer({ min: -4712, max: last })),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 28 }),
    )
    .map(([y, m, d]) => ({
      date: `${pad(y > 0 ? y : 1 - y, 4)}-${pad(m)}-${pad(d)}`,
      era: y > 0 ? '' : ' BC',
    }));
const moment = (digits: number, zone = ''): fc.Arbitrary<string> =>
  fc.tuple(day(270_000), clock(digits)).map(([{ date, era }, time]) => `${date} ${time}${zone}${era}`);

const digits = (max: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: max });
const numeric = (whole: number, part: number): fc.Arbitrary<string> =>
  fc
    .tuple(fc.constantFrom('', '-'), digits(whole), fc.option(digits(part)))
    .map(([sign, before, behind]) => `${sign}${before}${behind === null ? '' : `.${behind}`}`);
const special = (values: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof({ weight: 9, arbitrary: values }, fc.constantFrom('NaN', 'Infinity', '-Infinity'));
const isNumber = (text: string): boolean => !/^(NaN|-?Infinity)$/.test(text);
const int = (bits: bigint): fc.Arbitrary<string> =>
  fc.bigInt({ min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n }).map(String);
const floats = fc.oneof(
  fc.double(),
  fc.double({ min: -1e6, max: 1e6 }),
  fc.integer().map((n) => n / 100),
);
const bits = (min: number, max: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom('0', '1'), minLength: min, maxLength: max });
const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' })).map((s) => s.replaceAll('\0', ''));
const quoted = (item: string): string => `"${item.replaceAll(/["\\]/g, '\\$&')}"`;
const arrayOf = (item: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .array(fc.option(item), { maxLength: 8 })
    .map((items) => `{${items.map((i) => (i === null ? 'NULL' : quoted(i))).join(',')}}`);
const items = (value: unknown): unknown[] =>
  (value as (null | Record<string, unknown>)[]).map((item) =>
    item === null ? null : Object.values(item)[0],
  );

const bytes = (value: unknown): Buffer => Buffer.from(value as Uint8Array);
const atScale = (scale: number) => (value: unknown) => decimalText(unscaled(bytes(value)), scale);
const interval =
  '((extract(year from v) * 12 + extract(month from v)) * 2629800000000 + extract(day from v) * 86400000000' +
  ' + (extract(hour from v) * 60 + extract(minute from v)) * 60000000' +
  ' + extract(microseconds from v))::numeric(40,0)';

const LAWS: Law[] = [
  { type: 'bool', values: fc.constantFrom('t', 'f'), truth: 'v::text', show: String },
  { type: 'int2', values: int(16n), truth: 'v::text', show: String },
  { type: 'int4', values: int(32n), truth: 'v::text', show: String },
  { type: 'int8', values: fc.oneof(int(64n), int(54n), int(12n)), truth: 'v::text', show: String },
  { type: 'oid', values: fc.nat(0xffff_ffff).map(String), truth: 'v::text', show: String },
  {
    type: 'float4',
    values: fc.oneof(fc.float(), floats.map(Math.fround)).map((n) => (Object.is(n, -0) ? '-0' : String(n))),
    truth: "encode(float4send(v), 'hex')",
    show: (value) => floatHex(value as number),
  },
  {
    type: 'float8',
    values: floats.map((n) => (Object.is(n, -0) ? '-0' : String(n))),
    truth: "encode(float8send(v), 'hex')",
    show: (value) => doubleHex(value as number),
  },
  {
    type: 'numeric(12,2)',
    values: special(numeric(10, 2)).filter(isHeld),
    truth: 'v',
    show: atScale(2),
    exact: isNumber,
  },
  {
    type: 'numeric(5,0)',
    values: numeric(5, 1).filter((t) => Math.abs(Number(t)) < 99999),
    truth: 'v',
    show: atScale(0),
  },
  { type: 'numeric(60,30)', values: numeric(30, 30), truth: 'v', show: atScale(30) },
  { type: 'numeric(1000,500)', values: numeric(500, 500), truth: 'v', show: atScale(500) },
  { type: 'numeric(4,-2)', values: numeric(5, 1), truth: 'v', show: atScale(0) },
  {
    type: 'numeric(2,5)',
    values: digits(2).map((d) => `0.000${pad(Number(d))}`),
    truth: 'v',
    show: atScale(5),
  },
  {
    type: 'numeric',
    values: special(fc.oneof(numeric(8, 6), numeric(60, 60))),
    truth: 'trim_scale(v)',
    show: (value) => {
      const { scale, value: body } = value as { scale: number; value: Uint8Array };
      return decimalText(unscaled(bytes(body)), scale);
    },
    exact: isNumber,
  },
  { type: 'money', values: numeric(14, 2), truth: 'v::numeric', show: atScale(2) },
  {
    type: 'bytea',
    values: fc.uint8Array().map((b) => `\\x${Buffer.from(b).toString('hex')}`),
    truth: "encode(v, 'hex')",
    show: (value) => bytes(value).toString('hex'),
  },
  { type: 'bit(1)', values: bits(1, 1), truth: '(v::int)::bool::text', show: String },
  { type: 'bit(12)', values: bits(12, 12), truth: 'v::text', show: (value) => bitText(bytes(value), 12) },
  { type: 'bit(200)', values: bits(200, 200), truth: 'v::text', show: (value) => bitText(bytes(value), 200) },
  {
    type: 'varbit',
    values: bits(0, 40),
    truth: "coalesce(ltrim(v::text, '0'), '')",
    show: (value) => bitText(bytes(value), 0),
    exact: (shown) => !shown.startsWith('0'),
  },
  {
    type: 'date',
    values: day(5_874_000).map((d) => d.date + d.era),
    truth: "v - date '1970-01-01'",
    show: String,
  },
  { type: 'time', values: clock(6), truth: '(extract(epoch from v) * 1000000)::int8', show: String },
  { type: 'time(3)', values: clock(3), truth: '(extract(epoch from v) * 1000)::int8', show: String },
  {
    type: 'timetz',
    values: fc.tuple(clock(6), fc.integer({ min: -57_599, max: 57_599 })).map(([time, zone]) => {
      const seconds = Math.abs(zone);
      const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
      return `${time}${zone < 0 ? '-' : '+'}${parts.map((p) => pad(p)).join(':')}`;
    }),
    truth: "(extract(epoch from (v AT TIME ZONE 'UTC')::time) * 1000000)::int8",
    show: (value) => isoMicros(`1970-01-01T${value}`),
  },
  { type: 'timestamp', values: moment(6), truth: '(extract(epoch from v) * 1000000)::int8', show: String },
  { type: 'timestamp(3)', values: moment(3), truth: '(extract(epoch from v) * 1000)::int8', show: String },
  { type: 'timestamp(0)', values: moment(1), truth: '(extract(epoch from v) * 1000)::int8', show: String },
  {
    type: 'timestamptz',
    values: moment(6, '+03:17'),
    truth: '(extract(epoch from v) * 1000000)::int8',
    show: (value) => isoMicros(String(value)),
  },
  {
    type: 'timestamptz(3)',
    values: moment(3, '-08'),
    truth: '(extract(epoch from v) * 1000000)::int8',
    show: (value) => isoMicros(String(value)),
  },
  {
    type: 'interval',
    values: fc
      .tuple(fc.integer({ min: -9999, max: 9999 }), fc.integer({ min: -999, max: 999 }), fc.maxSafeInteger())
      .map(([months, days, micros]) => `${months} mons ${days} days ${(micros / 1e9).toFixed(6)} s`),
    truth: interval,
    show: String,
    exact: (shown) => !/^P[^T]*\d[YM]/.test(shown),
  },
  { type: 'text', values: text, truth: 'v', show: String },
  { type: 'char(7)', values: fc.string({ maxLength: 7 }), truth: 'rpad(v::text, 7)', show: String },
  { type: 'json', values: fc.json(), truth: 'v::text', show: String },
  { type: 'uuid', values: fc.uuid(), truth: 'v::text', show: String },
  { type: 'int4range', values: fc.constantFrom('[1,5]', 'empty', '(,3)'), truth: 'v::text', show: String },
  {
    type: 'int4[]',
    values: arrayOf(int(32n)),
    truth: 'to_json(v)',
    show: (value) => JSON.stringify(items(value)),
  },
  {
    type: 'text[]',
    values: arrayOf(fc.oneof(text, fc.constantFrom('NULL', 'null', '', '{}', '"', '\\', 'a,b', ' '))),
    truth: 'to_json(v)::text',
    show: (value) => JSON.stringify(items(value)),
  },
  {
    type: 'numeric(12,2)[]',
    values: arrayOf(special(numeric(9, 2))).filter((t) => !t.includes('Inf')),
    truth: "to_json(replace(v::text, 'NaN', '0.00')::text[])",
    show: (value) => JSON.stringify(items(value).map((item) => (item === null ? null : atScale(2)(item)))),
    exact: (shown) => !shown.includes('NaN'),
  },
  {
    type: 'timestamptz[]',
    values: arrayOf(moment(6, '+01')),
    truth:
      'to_json(array(SELECT (extract(epoch from i) * 1000000)::int8::text ' +
      'FROM unnest(v) WITH ORDINALITY u(i, n) ORDER BY n))',
    show: (value) =>
      JSON.stringify(items(value).map((item) => (item === null ? null : isoMicros(String(item))))),
  },
  {
    type: 'hstore',
    values: fc.dictionary(text, fc.option(text), { maxKeys: 5 }).map((o) =>
      Object.entries(o)
        .map(([k, v]) => `${quoted(k)}=>${v === null ? 'NULL' : quoted(v)}`)
        .join(', '),
    ),
    truth:
      `(SELECT coalesce(json_agg(json_build_array(k, x) ORDER BY k COLLATE "C"), '[]') ` +
      'FROM each(v) AS e(k, x))',
    show: (value) => {
      const entries = Object.entries(JSON.parse(String(value)) as Record<string, string | null>);
      return JSON.stringify(entries.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    },
  },
  {
    type: 'point',
    values: fc.tuple(fc.double(), fc.double()).map(([x, y]) => `(${x},${y})`),
    truth: "encode(float8send(v[0]), 'hex') || encode(float8send(v[1]), 'hex')",
    show: (value) => {
      const { x, y } = value as { x: number; y: number };
      return doubleHex(x) + doubleHex(y);
    },
  },
];

function isHeld(literal: string): boolean {
  return !literal.includes('Infinity');
}

describe('values of a real server', () => {
  let server: TestPostgres;
  let client: pg.Client;
  let table: PreparedTable;

  before(async () => {
    server = await startPostgres({ major: 15 });
    client = await openPinned(server.url);
    await client.query('CREATE EXTENSION hstore');
    await client.query(`CREATE TABLE t (${LAWS.map(({ type }, at) => `c${at} ${type}`).join(', ')})`);
    const catalog = await Catalog.open({ client, selects: () => true, known: () => null });
    const [found] = await catalog.tables();
    assert.ok(found);
    table = found.table;
  });

  after(async () => {
    await client.end();
    await server[Symbol.asyncDispose]();
  });

  for (const [at, law] of LAWS.entries()) {
    it(law.type, async () => {
      const column = table.schema.columns[at];
      assert.ok(column);
      const fields = [{ field: 'f', type: column.type, optional: false }];
      const avro = avroType(JSON.parse(avroSchema({ type: 'struct', name: 'R', fields })));
      const sql =
        `SELECT format('%s', v) AS text, (${law.truth})::text AS truth ` +
        'FROM unnest($1::text[]) WITH ORDINALITY AS u(literal, n) ' +
        `CROSS JOIN LATERAL (SELECT literal::${law.type} AS v) AS x ORDER BY n`;
      await fc.assert(
        fc.asyncProperty(fc.array(law.values, { minLength: 1, maxLength: 80 }), async (literals) => {
          const { rows } = await client.query<{ text: string; truth: string }>(sql, [literals]);
          for (const { text: shown, truth } of rows) {
            const encoded = encodeWith(table.encode[at], shown);
            const { isExact } = encoded;
            assert.equal(isExact, law.exact?.(shown) ?? true, `exact ${shown}`);
            const { f } = avro.fromBuffer(Buffer.from(encoded.avro)) as { f: unknown };
            if (isExact || !/^(NaN|-?Infinity)$/.test(shown))
              assert.equal(law.show(f), compact(law.type, truth), shown);
            const source = Buffer.from(`..${shown}..`);
            assert.equal(table.text(at, source, 2, source.length - 2), shown);
          }
        }),
        { numRuns: 8 },
      );
    });
  }
});

/** JSON without the spaces that the server puts between; other text as it is. */
const compact = (type: string, truth: string): string =>
  /^hstore|\[\]$/.test(type) ? JSON.stringify(JSON.parse(truth)) : truth;
