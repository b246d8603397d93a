// Encoders at the edges that a server cannot be made to print at will, and what the encoding cannot hold.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { makeEncoders, prepareTable } from '../../../connectors/postgres/table.ts';
import { compileTypeMap, type SourceType } from '../../../connectors/postgres/type-map.ts';
import { VarveError } from '../../../src/errors.ts';
import type { AvroValue } from '../../../src/topic/avro-read.ts';
import { DEFAULT_FORMATS, type Formats } from '../../../src/topic/format.ts';
import { encodeWith, readBack } from './types-encoding.ts';

const describeType = (name: string, more: Partial<SourceType> = {}): SourceType => ({
  oid: 1,
  namespace: 'pg_catalog',
  name,
  kind: 'b',
  element: 0,
  delimiter: ',',
  base: 0,
  baseTypmod: -1,
  labels: [],
  ...more,
});

type Asked = {
  type: string;
  typmod?: number;
  array?: boolean;
  more?: Partial<SourceType>;
  checkUtf8?: boolean;
  formats?: Partial<Formats>;
};

const prepare = ({ type, typmod = -1, array = false, more = {}, checkUtf8 = false, formats }: Asked) => {
  const types = new Map([[1, describeType(type, more)]]);
  if (array) types.set(2, describeType(`_${type}`, { oid: 2, element: 1, delimiter: more.delimiter ?? ',' }));
  const typeOid = array ? 2 : 1;
  const mapped = compileTypeMap({ ...DEFAULT_FORMATS, ...formats })(typeOid, typmod, { types });
  assert.ok(mapped !== null);
  const columns = [{ id: 1, name: 'secret_free', sourceType: type, optional: true, mapped, hidden: null }];
  const [encode] = makeEncoders({ name: ['public', 't'], columns }, checkUtf8);
  return { encode, type: mapped.connect };
};

const run = (asked: Asked, text: string | Uint8Array): [AvroValue, boolean] => {
  const { encode, type } = prepare(asked);
  const encoded = encodeWith(encode, text);
  return [readBack(type, encoded), encoded.isExact];
};

const NUMERIC_12_2 = ((12 << 16) | 2) + 4;
const bytes = (...list: number[]): Uint8Array => Uint8Array.from(list);
const plain = (value: AvroValue): unknown => JSON.parse(JSON.stringify(value));

describe('what the encoding cannot hold', () => {
  const MAX = 2n ** 63n - 1n;
  const cases: [Asked, string, AvroValue][] = [
    [{ type: 'numeric', typmod: NUMERIC_12_2 }, 'NaN', bytes(0)],
    [{ type: 'numeric', typmod: NUMERIC_12_2 }, '1.239', bytes(123)],
    [{ type: 'date' }, 'infinity', 2_146_033_979],
    [{ type: 'date' }, '-infinity', -2_147_472_691],
    [{ type: 'timestamp' }, 'infinity', MAX],
    [{ type: 'timestamp' }, '-infinity', -MAX - 1n],
    [{ type: 'timestamp' }, '294276-12-31 23:59:59.999999', MAX],
    [{ type: 'timestamp', typmod: 3 }, 'infinity', 9_223_372_036_825_200_000n],
    [{ type: 'timestamp', typmod: 3 }, '-infinity', -9_223_372_036_832_400_000n],
    [{ type: 'interval' }, 'infinity', MAX],
    [{ type: 'interval' }, '-infinity', -MAX - 1n],
    [{ type: 'interval' }, 'P178000000Y', MAX],
    [{ type: 'interval' }, 'P1Y2M', 36_817_200_000_000n],
    [{ type: 'varbit' }, '0101', bytes(5)],
    [{ type: 'varbit', typmod: 1 }, '', false],
    [{ type: 'int4', array: true }, '{{1,2},{3,4}}', []],
    [{ type: 'int4', array: true }, '[0:1]={1,2}', [1, 2]],
    [{ type: 'int4', array: true }, '[0:0][1:2]={{1,2}}', []],
    [{ type: 'numeric', typmod: NUMERIC_12_2, array: true }, '{NaN,0.05,NULL}', [bytes(0), bytes(5), null]],
  ];
  for (const [asked, text, standIn] of cases) {
    it(`${JSON.stringify(asked)} ${text}`, () => {
      assert.deepEqual(run(asked, text), [standIn, false]);
    });
  }

  it('polygons whose ring is closed already look like open ones', () => {
    const [open, isExact] = run({ type: 'polygon' }, '((0,0),(1,1),(1,0))');
    const [closed, isClosedExact] = run({ type: 'polygon' }, '((0,0),(1,1),(1,0),(0,0))');
    assert.deepEqual([plain(closed), isExact, isClosedExact], [plain(open), true, false]);
  });
});

describe('what it can', () => {
  const cases: [Asked, string, AvroValue][] = [
    [{ type: 'timestamp', typmod: 3 }, '294276-12-31 23:59:59.999', 9_224_318_015_999_999n],
    [{ type: 'timestamptz' }, '-infinity', '-infinity'],
    [{ type: 'timestamptz', typmod: 0 }, '2024-02-29 10:34:56+00', '2024-02-29T10:34:56Z'],
    [{ type: 'timestamptz', typmod: 1 }, '0001-01-01 00:00:00.5+00 BC', '0000-01-01T00:00:00.5Z'],
    [{ type: 'timestamptz' }, '0044-03-15 12:00:00+00 BC', '-0043-03-15T12:00:00.000000Z'],
    [{ type: 'timestamptz' }, '10000-01-01 00:00:00.25+00', '+10000-01-01T00:00:00.250000Z'],
    [{ type: 'timetz' }, '24:00:00-15:59', '15:59:00Z'],
    [{ type: 'timetz' }, '00:00:00.10+00:19:32', '23:40:28.1Z'],
    [{ type: 'time' }, '24:00:00', 86_400_000_000n],
    [{ type: 'interval' }, 'PT0S', 0n],
    [{ type: 'interval' }, 'P3DT-4H-5M-6.5S', 244_493_500_000n],
    [{ type: 'money' }, '-$92,233,720,368,547,758.08', bytes(0x80, 0, 0, 0, 0, 0, 0, 0)],
    [{ type: 'bit', typmod: 12 }, '000000000000', bytes()],
    [{ type: 'text' }, '\ufeffbyte order mark', '\ufeffbyte order mark'],
    [{ type: 'hstore', more: { namespace: 'x' } }, '"\ufeff\\"\\\\"=>NULL', '{"\ufeff\\"\\\\":null}'],
    [{ type: 'hstore', more: { namespace: 'x' } }, '', '{}'],
    [{ type: 'text', array: true }, '{"a\\"b",NULL,"NULL","","\\\\"}', ['a"b', null, 'NULL', '', '\\']],
    [{ type: 'text', array: true }, '{}', []],
    [{ type: 'vector', more: { namespace: 'x' } }, '[1,-2.5,3e-07]', [1, -2.5, 3e-7]],
    [{ type: 'halfvec', more: { namespace: 'x' } }, '[1,0.5]', [1, 0.5]],
    [{ type: 'sparsevec', more: { namespace: 'x' } }, '{1:1,3:2}/5', '{1:1,3:2}/5'],
    [{ type: 'mood', more: { namespace: 'x', kind: 'e', labels: ['a', 'b'] } }, 'b', 'b'],
    [{ type: 'pair', more: { namespace: 'x', kind: 'c' } }, '(1,"x,""y")', '(1,"x,""y")'],
    [{ type: 'int2vector' }, '1 2', '1 2'],
  ];
  for (const [asked, text, value] of cases) {
    it(`${asked.type} ${text}`, () => {
      assert.deepEqual(run(asked, text), [value, true]);
    });
  }

  it('boxes stand in arrays with semicolons between', () => {
    const [value, isExact] = run(
      { type: 'box', array: true, more: { delimiter: ';' } },
      '{(1,1),(0,0);(2,2),(1,1)}',
    );
    assert.equal((value as AvroValue[]).length, 2);
    assert.equal(isExact, true);
  });

  it('PostGIS keeps its bytes, and the reference system is read from either byte order', () => {
    const little = '0101000020E6100000000000000000F03F0000000000000040';
    const big = '0020000001000010E63FF00000000000004000000000000000';
    const none = '0101000000000000000000F03F0000000000000040';
    for (const [text, srid] of [
      [little, 4326],
      [big, 4326],
      [none, null],
    ] as const) {
      const [value, isExact] = run({ type: 'geometry', more: { namespace: 'gis' } }, text);
      const { wkb, ...rest } = value as { wkb: Uint8Array };
      assert.equal(Buffer.from(wkb).toString('hex').toUpperCase(), text);
      assert.deepEqual([plain(rest as AvroValue), isExact], [{ srid, extensions: null }, true]);
    }
    const [value] = run({ type: 'geography', more: { namespace: 'gis' } }, little);
    assert.deepEqual(Object.keys(value as object), ['wkb', 'srid']);
  });
});

describe('strings that are no UTF-8', () => {
  const latin = Uint8Array.of(0x67, 0xfc, 0x6e);

  it('are named instead of published, where the server does not vouch for its strings', () => {
    assert.deepEqual(run({ type: 'text', checkUtf8: true }, latin), ['', false]);
    assert.deepEqual(run({ type: 'text', array: true, checkUtf8: true }, '{a}'), [['a'], true]);
    assert.deepEqual(run({ type: 'text', checkUtf8: true }, 'grün'), ['grün', true]);
  });

  it('have their bytes as text', () => {
    const relax = (): never => assert.fail('not asked for');
    const schema = { name: ['public', 't'] as const, columns: [], key: [] };
    const table = prepareTable(schema, [], { checkUtf8: true, relax });
    assert.equal(table.text(0, latin, 0, 3), '\\x67fc6e');
    assert.equal(table.text(0, latin, 0, 1), 'g');
  });
});

describe('text that the server never prints', () => {
  const refusals: [Asked, string[]][] = [
    [{ type: 'bool' }, ['', 'true', 'x']],
    [{ type: 'int2' }, ['', '-', '32768', '-32769', '1.0', ' 1', '0x1']],
    [{ type: 'int8' }, ['9223372036854775808', '-9223372036854775809', '1e3', '12345678901234567890123']],
    [{ type: 'oid' }, ['-1', '4294967296']],
    [{ type: 'float8' }, ['', '-', '0x10', '1.2.3', ' 1', 'nan', '1e', 'infinity', '.', '--1']],
    [{ type: 'numeric' }, ['', '-', '1.', '.5', '1e3', 'nan']],
    [{ type: 'numeric', typmod: NUMERIC_12_2 }, ['', '-', '1..2', '1,00', '.50']],
    [{ type: 'money' }, ['1.00', '€1.00', '$1', '$1.0']],
    [{ type: 'bytea' }, ['', 'abc', '\\x1', '\\xzz', '\\000']],
    [{ type: 'bit', typmod: 4 }, ['1021', '0x11']],
    [
      { type: 'date' },
      [
        '',
        '01/02/2024',
        '2024-1-1',
        'Infinity',
        '2024-02-29 00:00:00',
        '999-01-01',
        '2024-13-01',
        '2024-12-32',
      ],
    ],
    [{ type: 'time' }, ['', '1:2:3', '12:00', '12:00:00.1234567', '12:00:00+00']],
    [{ type: 'timestamp' }, ['2024-02-29', '2024-02-29T00:00:00', '29.02.2024 00:00:00']],
    [
      { type: 'timestamptz' },
      [
        '2024-02-29 00:00:00',
        '2024-02-29 00:00:00+02',
        '2024-02-29 00:00:00+00:30',
        '2024-02-29T00:00:00+00',
        '2024-02-2x 00:00:00+00',
        '2024-02-29 00-00:00+00',
        '2024-02-29 00:00:00.+00',
        '2024-02-29 00:00:00.1234567+00',
        '2024-02-29 00:00:00,5+00',
        '2024-13-01 00:00:00+00',
        '2024-12-32 00:00:00+00',
      ],
    ],
    [{ type: 'timetz' }, ['12:00:00', '12:00:00UTC']],
    [{ type: 'interval' }, ['', '1 day', '@ 1 day', '1-2']],
    [{ type: 'point' }, ['', '1,2', '(1,2', '(1,2),(3,4)', '(a,b)']],
    [{ type: 'polygon' }, ['()', '[(0,0)]']],
    [{ type: 'int4', array: true }, ['', '{', '1,2', '{1,2', '{1,,2}', '{1;2}', '{"1}', '[0:1]', '{1}2']],
    [{ type: 'hstore', more: { namespace: 'x' } }, ['a', '"a"', '"a"=>', '"a"=>"b" "c"=>"d"', '"a"=>"b']],
    [{ type: 'geometry', more: { namespace: 'x' } }, ['', '01', 'POINT(1 2)', '0101000020E61000']],
    [{ type: 'vector', more: { namespace: 'x' } }, ['1,2', '[1,', '[1,,2]']],
  ];
  for (const [asked, texts] of refusals) {
    for (const text of texts) {
      it(`${asked.type}${asked.array ? '[]' : ''} ${JSON.stringify(text)}`, () => {
        assert.throws(
          () => run(asked, text),
          (error: unknown) => {
            assert.ok(error instanceof VarveError, String(error));
            assert.equal(error.kind, 'value_unsupported');
            assert.deepEqual(error.facts, { table: 'public.t', column: 'secret_free', type: asked.type });
            assert.ok(text.length < 3 || !error.message.includes(text), 'the value is told');
            return true;
          },
        );
      });
    }
  }

  it('is refused or encoded, and never anything else', () => {
    const types: Asked[] = refusals.map(([asked]) => asked);
    const unit = fc.constantFrom(...'0123456789-+.:{}[](),"\\ PTYMDHSBCNULtfx$=>e');
    fc.assert(
      fc.property(fc.constantFrom(...types), fc.string({ unit, maxLength: 24 }), (asked, text) => {
        try {
          run(asked, text);
        } catch (error) {
          assert.ok(error instanceof VarveError && error.kind === 'value_unsupported', String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });
});
