// Owns one column for each PostgreSQL type, literals for it, and how its value is said in SQL, so that what
// the table prints can be held against what the source prints. A literal that the table's type cannot hold
// begins with "!".

export type TypeCase = {
  type: string;
  values: readonly string[];
  /** SQL over the value, `v`, giving the text that the table must have. Absent: the value's own text. */
  sql?: string;
  /** Makes texts of both sides comparable. */
  canonical?: (text: string) => string;
};

/** DuckDB prints a decimal without digits before the point so. */
const leadingZero = (text: string): string => text.replace(/^(-?)\./, '$10.');
const yearSign = (text: string): string => text.replace(/ \(BC\)(.*)$/, '$1 BC');
const float = (text: string): string => String(Number(text.replace(/^(-?)inf(inity)?$/i, '$1Infinity')));

/** Coordinates in a WKB geometry: little-endian, a point, a line or rings. */
const wkbNumbers = (base64: string): number[] => {
  const bytes = Buffer.from(base64, 'base64');
  const kind = bytes.readUInt32LE(1) & 0xff;
  const found: number[] = [];
  for (let at = [9, 5, 9, 13][kind] ?? 9; at + 8 <= bytes.length; at += 8) found.push(bytes.readDoubleLE(at));
  return kind === 1 ? [bytes.readDoubleLE(5), bytes.readDoubleLE(13)] : found;
};
const jsonNumbers = (value: unknown, key = ''): number[] => {
  if (typeof value === 'number') return key === 'srid' ? [] : [value];
  if (typeof value === 'string') return key === 'wkb' ? wkbNumbers(value) : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, item]) => jsonNumbers(item, name));
};
/** Geometry as the numbers in it, because the table has a polygon's last point twice and a box as four. */
const numbers = (text: string): string => {
  const found = text.startsWith('{"')
    ? jsonNumbers(JSON.parse(text))
    : [...text.matchAll(/-?[0-9.]+(?:e[+-]?[0-9]+)?/g)].map(([digits]) => Number(digits));
  return [...new Set(found)].sort((a, b) => a - b).join(' ');
};

/** Bits as bytes, the last bit first, without zero bytes at the end. */
const bits = (text: string): string => {
  if (!/^[01]{8,}$/.test(text)) return text;
  const bytes: number[] = [];
  for (let end = text.length; end > 0; end -= 8)
    bytes.push(Number.parseInt(text.slice(Math.max(0, end - 8), end), 2));
  while (bytes.at(-1) === 0) bytes.pop();
  return Buffer.from(bytes).toString('hex');
};

const sortedJson = (text: string): string =>
  JSON.stringify(Object.entries(JSON.parse(text) as Record<string, unknown>).sort());
/** Items as text, whatever their type. */
const items = (text: string): string =>
  JSON.stringify((JSON.parse(text) as unknown[]).map((item) => (item === null ? null : String(item))));
const arrayOf = (type: string, values: readonly string[], item = 'i::text'): TypeCase => ({
  type: `${type}[]`,
  values,
  sql: `(select coalesce(json_agg(${item} order by n), '[]') from unnest(v) with ordinality u(i, n))::text`,
  canonical: items,
});

const just = (type: string, ...values: string[]): TypeCase => ({ type, values });
const LONG_TEXT = "repeat('long ', 3000)";
const UTC = "(v at time zone 'UTC')::text";

export const CASES: readonly TypeCase[] = [
  just('boolean', "'t'", "'f'"),
  just('smallint', '-32768', '32767', '0'),
  just('integer', '-2147483648', '2147483647', '0'),
  just('bigint', '-9223372036854775808', '9223372036854775807', '0'),
  just('oid', '4294967295', '0'),
  {
    type: 'real',
    values: ['1.17549435e-38', '3.4028235e38', "'NaN'", "'-Infinity'", '0.1'],
    canonical: float,
  },
  {
    type: 'double precision',
    values: ["'NaN'", "'Infinity'", "'-Infinity'", '1.7976931348623157e308', '5e-324', '0.1'],
    canonical: float,
  },
  just('numeric(12,2)', '-9999999999.99', '0.01', '0', "!'NaN'"),
  just('numeric(4,-2)', '123400', '-999900'),
  { ...just('numeric(2,5)', '0.00012', '-0.00099'), canonical: leadingZero },
  just('numeric(38,10)', '9999999999999999999999999999.9999999999'),
  just('numeric(60,3)', `${'9'.repeat(57)}.001`),
  {
    type: 'numeric',
    values: [
      '1.500',
      '-12345678901234567890123456789012345678901234567890.5',
      '1e-20',
      "'NaN'",
      "'-Infinity'",
    ],
    sql: "case when v in ('NaN', 'Infinity', '-Infinity') then v::text else trim_scale(v)::text end",
  },
  { type: 'money', values: ["'-92233720368547758.08'", '12.3'], sql: 'v::numeric::text' },
  just('text', "''", "'a''b\"c\\d'", "e'tab\\tline\\n'", "'äöü 漢字 😀'", "'null'", LONG_TEXT),
  just('character varying(10)', "'0123456789'", "' a '"),
  { type: 'character(10)', values: ["'ab'", "'0123456789'"], sql: 'rpad(v::text, 10)' },
  just('name', "'some_name'"),
  just('"char"', "'x'"),
  just('uuid', "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"),
  just('json', '\'{"b": 1,  "a": [1, null]}\'', "'null'", "'1e400'"),
  just('jsonb', '\'{"b": 1, "a": [1, null]}\'', "'null'", '\'"x"\''),
  just('xml', '\'<a b="1">x</a>\''),
  { type: 'bytea', values: ["'\\x00ff10'", "''"], sql: "encode(v, 'hex')" },
  { type: 'bit(1)', values: ["B'1'", "B'0'"], sql: 'v::int::boolean::text' },
  { type: 'bit(12)', values: ["B'100000000001'", "B'000000000001'"], canonical: bits },
  { type: 'bit varying', values: ["B'1000000000000001'", "!B'0000000010000001'"], canonical: bits },
  {
    type: 'date',
    values: [
      "'2024-02-29'",
      "'0001-01-01'",
      "'0044-03-15 BC'",
      "'5874897-12-31'",
      "!'infinity'",
      "!'-infinity'",
    ],
    canonical: yearSign,
  },
  just('time', "'00:00'", "'23:59:59.999999'", "!'24:00'"),
  just('time(3)', "'12:34:56.789'", "!'24:00'"),
  {
    type: 'time with time zone',
    values: ["'23:59:59.5+05:30'", "'00:00+00'"],
    sql: "(v at time zone 'UTC')::time::text || 'Z'",
  },
  {
    type: 'timestamp',
    values: [
      "'2024-02-29 12:34:56.789012'",
      "'0044-03-15 10:00 BC'",
      "'0001-01-01'",
      "'12345-01-01'",
      "!'infinity'",
      "!'-infinity'",
      "!'294247-01-10 04:00:54.775807'",
    ],
    canonical: yearSign,
  },
  {
    type: 'timestamp(3)',
    values: ["'1969-12-31 23:59:59.999'", "'294246-01-01'", "!'infinity'"],
    canonical: yearSign,
  },
  {
    type: 'timestamp with time zone',
    values: [
      "'2024-03-31 02:30+02'",
      "'0044-03-15 10:00+00 BC'",
      "'1883-01-01 00:00:00.000001+00'",
      "!'infinity'",
    ],
    sql: UTC,
    canonical: yearSign,
  },
  {
    type: 'interval',
    values: ["'3 days 04:05:06.000007'", "'-1 day'", "!'1 mon'"],
    sql:
      '(extract(day from v) * 86400e6 + extract(hour from v) * 3600e6 + extract(minute from v) * 60e6 + ' +
      'extract(second from v) * 1e6)::bigint::text',
  },
  { type: 'point', values: ["'(1.5,-2)'"], canonical: numbers },
  { type: 'line', values: ["'{1,-1,0.5}'"], canonical: numbers },
  { type: 'lseg', values: ["'[(0,1),(2,3.5)]'"], canonical: numbers },
  { type: 'box', values: ["'(3,4),(1,2)'"], canonical: numbers },
  { type: 'path', values: ["'[(0,1),(2,3),(4,5.5)]'"], canonical: numbers },
  { type: 'polygon', values: ["'((0,1),(2,3),(4,5.5))'"], canonical: numbers },
  { type: 'circle', values: ["'<(1.5,-2),3>'"], canonical: numbers },
  just('tsvector', "'the quick fox'::tsvector"),
  { type: 'inet', values: ["'192.168.1.5/24'", "'::1'"], sql: "format('%s', v)" },
  just('cidr', "'10.0.0.0/8'"),
  just('macaddr', "'08:00:2b:01:02:03'"),
  just('macaddr8', "'08:00:2b:01:02:03:04:05'"),
  just('int4range', "'[1,5)'", "'empty'", "'(,)'"),
  just('tstzrange', "'[2024-01-01 00:00+00,)'"),
  {
    type: 'hstore',
    values: ["'a=>1, b=>NULL'"],
    sql: 'hstore_to_json(v)::text',
    canonical: sortedJson,
  },
  just('ltree', "'a.b.c'"),
  just('citext', "'CamelCase'"),
  just('isbn', "'978-0-393-04002-9'"),
  arrayOf('integer', ["'{1,NULL,-3}'", "'{}'", "!'{{1,2},{3,4}}'", "!'[0:1]={5,6}'"]),
  arrayOf('text', ["array['a\"b', NULL, '', 'x,y']"]),
  arrayOf('boolean', ["'{t,f,NULL}'"]),
  arrayOf('numeric(10,2)', ["'{1.50,-0.01}'", "!'{1,NaN}'"], 'trim_scale(i)::text'),
  arrayOf('uuid', ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
  arrayOf('date', ["'{2024-01-01,NULL}'", "!'{infinity}'"]),
  arrayOf('timestamp with time zone', ["'{2024-01-01 12:00+02}'"], "(i at time zone 'UTC')::text || '+00'"),
  just('tsquery', "'fat & rat'"),
  just('int4multirange', "'{[1,3),[5,8)}'"),
  just('xid8', "'18446744073709551615'"),
  just('pg_lsn', "'16/B374D848'"),
  just('lquery', "'a.*.c'"),
  just('mood', "'happy'", "'so so'"),
  just('positive', '7'),
  just('pair_of', "row(1, 'a b')"),
];

export const PRELUDE = `
  create extension hstore; create extension ltree; create extension citext; create extension isn;
  create type mood as enum ('happy', 'so so');
  create domain positive as int check (value > 0);
  create type pair_of as (a int, b text)`;
