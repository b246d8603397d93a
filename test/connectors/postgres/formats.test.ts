// Every form that a user can choose, at its edges; the recorded cases show the same forms on a real server.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeEncoders } from '../../../connectors/postgres/table.ts';
import { compileTypeMap, type SourceType } from '../../../connectors/postgres/type-map.ts';
import type { ConnectType } from '../../../src/change/schema.ts';
import type { AvroValue } from '../../../src/topic/avro-read.ts';
import { DEFAULT_FORMATS, type Formats } from '../../../src/topic/format.ts';
import { encodeWith, readBack } from './types-encoding.ts';

type Case = [formats: Partial<Formats>, type: string, text: string, value: AvroValue, isExact?: boolean];

const BUILT_IN: SourceType = {
  oid: 1,
  namespace: 'pg_catalog',
  name: '',
  kind: 'b',
  element: 0,
  delimiter: ',',
  base: 0,
  baseTypmod: -1,
  labels: [],
};

/** `numeric(12,2)` with its modifier, `text[]` with its item; extensions' types are in namespace x. */
const mapNamed = (formats: Partial<Formats>, written: string) => {
  const [, name = '', digits, scale, array] = /^(\w+)(?:\((\d+)(?:,(-?\d+))?\))?(\[\])?$/.exec(written) ?? [];
  const namespace = ['hstore', 'lquery'].includes(name) ? 'x' : 'pg_catalog';
  const types = new Map([[1, { ...BUILT_IN, name, namespace }]]);
  types.set(2, { ...BUILT_IN, oid: 2, name: `_${name}`, element: 1 });
  const typmod =
    digits === undefined
      ? -1
      : scale === undefined
        ? Number(digits)
        : ((Number(digits) << 16) | (Number(scale) & 0x7ff)) + 4;
  return compileTypeMap({ ...DEFAULT_FORMATS, ...formats })(array ? 2 : 1, typmod, { types });
};

const run = (formats: Partial<Formats>, written: string, text: string): [AvroValue, boolean] => {
  const mapped = mapNamed(formats, written) ?? assert.fail('it is left out');
  const columns = [{ id: 1, name: 'c', sourceType: written, optional: true, mapped, hidden: null }];
  const [encode] = makeEncoders({ name: ['public', 't'], columns }, false);
  const encoded = encodeWith(encode, text);
  return [readBack(mapped.connect, encoded), encoded.isExact];
};

const connectOf = (formats: Partial<Formats>, written: string): ConnectType | undefined =>
  mapNamed(formats, written)?.connect;

const MAX = 2n ** 63n - 1n;
const DIGITS: Partial<Formats> = { decimal: 'string' };
const DOUBLE: Partial<Formats> = { decimal: 'double' };
const NANOS: Partial<Formats> = { time: 'nanoseconds' };
const MICROS: Partial<Formats> = { time: 'microseconds' };
const CONNECT: Partial<Formats> = { time: 'connect' };
const ISO: Partial<Formats> = { time: 'isostring' };
const PARTS: Partial<Formats> = { interval: 'string' };
const MAP: Partial<Formats> = { hstore: 'map' };
const BASE64: Partial<Formats> = { binary: 'base64' };
const HEX: Partial<Formats> = { binary: 'hex' };
const RAW: Partial<Formats> = { unknownTypes: 'bytes' };

const CASES: readonly Case[] = [
  [DIGITS, 'numeric', '123.4560', '123.4560'],
  [DIGITS, 'numeric', '-0.10', '-0.10'],
  [DIGITS, 'numeric', `1${'0'.repeat(60)}.5`, `1${'0'.repeat(60)}.5`],
  [DIGITS, 'numeric(12,2)', '1.1', '1.10'],
  [DIGITS, 'numeric(12,2)', '7', '7.00'],
  [DIGITS, 'numeric(4,-2)', '123400', '123400'],
  [DIGITS, 'numeric', 'NaN', 'NAN', false],
  [DIGITS, 'numeric', '-Infinity', 'NEGATIVE_INFINITY', false],
  [DIGITS, 'numeric(12,2)[]', '{1.10,NULL,NaN}', ['1.10', null, 'NAN'], false],
  [DIGITS, 'money', '-$1,234.50', '-1234.50'],
  [DOUBLE, 'numeric', '123.4560', 123.456],
  [DOUBLE, 'numeric(12,2)', 'NaN', Number.NaN],
  [DOUBLE, 'numeric', '-Infinity', Number.NEGATIVE_INFINITY],
  [DOUBLE, 'numeric', `1${'0'.repeat(400)}`, Number.POSITIVE_INFINITY, false],
  [DOUBLE, 'money', '-$1,234.50', -1234.5],
  [BASE64, 'bytea', '\\x00ff10', 'AP8Q'],
  [BASE64, 'bytea', '\\x00ff', 'AP8='],
  [BASE64, 'bytea', '\\xfb', '+w=='],
  [BASE64, 'bytea', '\\x', ''],
  [HEX, 'bytea', '\\x00ff', '00ff'],
  [HEX, 'bytea[]', '{"\\\\x00ff",NULL}', ['00ff', null]],
  [{ ...RAW, ...BASE64 }, 'tsquery', "'a'", 'J2En'],
  [{ ...RAW, ...HEX }, 'tsquery', "'a'", '276127'],
  [RAW, 'tsquery', 'a', Uint8Array.of(97)],
  [RAW, 'lquery[]', '{a}', Uint8Array.from(Buffer.from('{a}'))],
  [MICROS, 'time(3)', '12:34:56.789', 45_296_789_000n],
  [MICROS, 'timestamp(3)', '2024-02-29 12:34:56.789', 1_709_210_096_789_000n],
  [{ time: 'adaptive_time_microseconds' }, 'timestamp(3)', '2024-02-29 12:34:56.789', 1_709_210_096_789n],
  [NANOS, 'time', '23:59:59.999999', 86_399_999_999_000n],
  [NANOS, 'timestamp', '2024-02-29 12:34:56.123456', 1_709_210_096_123_456_000n],
  [NANOS, 'timestamp', '1969-12-31 23:59:59.999999', -1000n],
  [NANOS, 'timestamp', '2262-04-12 00:00:00', MAX, false],
  [NANOS, 'timestamp', '1600-01-01 00:00:00', -MAX - 1n, false],
  [NANOS, 'timestamp', '0044-03-15 12:00:00 BC', -MAX - 1n, false],
  [NANOS, 'timestamp', '-infinity', -MAX - 1n, false],
  [CONNECT, 'date', '2024-02-29', 19_782],
  [CONNECT, 'time', '23:59:59.999999', 86_399_999],
  [CONNECT, 'timestamp', '2024-02-29 12:34:56.123456', 1_709_210_096_123n],
  [CONNECT, 'timestamp', '1969-12-31 23:59:59.999999', -1n],
  [CONNECT, 'timestamp', 'infinity', 9_223_372_036_825_200_000n, false],
  [ISO, 'date', '2024-02-29', '2024-02-29Z'],
  [ISO, 'date', '0044-03-15 BC', '-0043-03-15Z'],
  [ISO, 'date', '5874897-12-31', '+5874897-12-31Z'],
  [ISO, 'date', 'infinity', 'infinity'],
  [ISO, 'time', '10:15:30.500000', '10:15:30.5Z'],
  [ISO, 'time', '10:10:00', '10:10:00Z'],
  [ISO, 'time', '24:00:00', '00:00:00Z', false],
  [ISO, 'timestamp', '2024-02-29 12:34:56.123400', '2024-02-29T12:34:56.1234Z'],
  [ISO, 'timestamp', '10000-01-01 00:00:00', '+10000-01-01T00:00:00Z'],
  [ISO, 'timestamp', '-infinity', '-infinity'],
  [PARTS, 'interval', 'P1Y2M3DT4H5M6.789012S', 'P1Y2M3DT4H5M6.789012S'],
  [PARTS, 'interval', 'PT0S', 'P0Y0M0DT0H0M0S'],
  [PARTS, 'interval', 'P-1Y3DT-4H-5M-6.500000S', 'P-1Y0M3DT-4H-5M-6.5S'],
  [PARTS, 'interval', 'infinity', 'P0Y0M0DT0H0M0S', false],
  [MAP, 'hstore', '"a"=>"1", "b c"=>NULL', { a: '1', 'b c': null }],
  [MAP, 'hstore', '', {}],
];

describe('chosen forms', () => {
  for (const [formats, type, text, value, isExact = true] of CASES) {
    it(`${JSON.stringify(formats)} ${type} ${text.slice(0, 40)}`, () => {
      const [read, exact] = run(formats, type, text);
      assert.deepEqual([plain(read), exact], [plain(value), isExact]);
    });
  }

  it('text that the server never writes is refused in each of them', () => {
    const never: [Partial<Formats>, string, string][] = [
      [DIGITS, 'numeric', '1e5'],
      [DIGITS, 'money', '12'],
      [DOUBLE, 'numeric', 'x'],
      [BASE64, 'bytea', '\\x0g'],
      [HEX, 'bytea', '\\x0'],
      [NANOS, 'timestamp', 'yesterday at'],
      [ISO, 'date', '24-01-01'],
      [ISO, 'time', 'noon'],
      [ISO, 'timestamp', '2024-02-29'],
      [PARTS, 'interval', '1 year'],
    ];
    for (const [formats, type, text] of never) {
      assert.throws(() => run(formats, type, text), { kind: 'value_unsupported' }, `${type} ${text}`);
    }
  });

  it('Kafka Connect has its own names', () => {
    assert.equal(connectOf(CONNECT, 'date')?.name, 'org.apache.kafka.connect.data.Date');
    assert.equal(connectOf(CONNECT, 'timestamp(3)')?.name, 'org.apache.kafka.connect.data.Timestamp');
    assert.equal(connectOf(CONNECT, 'timestamptz')?.name, 'io.debezium.time.ZonedTimestamp');
  });

  it('what Debezium leaves out is left out on request, a key and a vanished type never', () => {
    const mapType = compileTypeMap({ ...DEFAULT_FORMATS, unknownTypes: 'omit' });
    const types = new Map([[1, { ...BUILT_IN, name: 'tsquery' }]]);
    assert.equal(mapType(1, -1, { types }), null);
    assert.equal(mapType(1, -1, { types, isKey: true })?.connect.type, 'string');
    assert.equal(mapType(99, -1, { types })?.connect.type, 'string');
    for (const type of ['text', 'varchar(5)', 'inet', 'tstzrange', 'int4', 'uuid', 'text[]']) {
      assert.notEqual(mapNamed({ unknownTypes: 'omit' }, type), null, type);
    }
  });
});

/** NaN, bytes and 64 bits side by side with objects that have no prototype. */
const plain = (value: AvroValue): string =>
  JSON.stringify(value, (_, part) => {
    if (typeof part === 'bigint') return `${part}n`;
    return typeof part === 'number' && !Number.isFinite(part) ? `${part}` : part;
  });
