// Every schema that a real Debezium registered, derived again from its Connect form, to the letter.
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import type { Column, ConnectField, TableName, TableSchema } from '../../src/change/schema.ts';
import { avroSchema } from '../../src/topic/avro-schema.ts';
import { envelopeType, keyType } from '../../src/topic/envelope-schema.ts';
import { claimTopic, fieldNames, recordName, topicName } from '../../src/topic/naming.ts';
import { goldenCases, loadGolden, type RecordedConnect, toConnectType } from '../support/golden.ts';

/**
 * Schemas that the recorded converter could not make, by case: with `names: none` a field keeps its spaces.
 */
const UNMADE = new Set(['quoted-identifiers-none']);

for (const caseDir of goldenCases('postgres')) {
  test(`schemas of ${basename(caseDir)} are derived as recorded`, () => {
    for (const [id, { connect, avro, avroError }] of Object.entries(loadGolden(caseDir).schemas)) {
      if (avro === null && UNMADE.has(basename(caseDir))) {
        assert.match(avroError ?? '', /Illegal character/);
        continue;
      }
      assert.equal(avroSchema(toConnectType(connect)), JSON.stringify(avro), `schema ${id}`);
    }
  });
}

const columnOf = ({ field, type, optional, default: value }: ConnectField, id: number): Column => ({
  id,
  name: field,
  type,
  sourceType: '',
  optional,
  ...(value === undefined ? {} : { default: value }),
});

test('envelopes and keys are built from columns as recorded', () => {
  const seen = { Envelope: 0, Key: 0 };
  for (const { connect } of goldenCases('postgres').flatMap((dir) =>
    Object.values(loadGolden(dir).schemas),
  )) {
    const { name, fields = [] } = toConnectType(connect);
    const [, , source] = fields;
    const [record, kind] = name?.match(/^(.*)\.(Envelope|Key)$/)?.slice(1) ?? [];
    const row = kind === 'Envelope' ? fields[0]?.type.fields : fields;
    if (record === undefined || row === undefined) continue;
    const columns = row.map(columnOf);
    const names = { record, fields: columns.map((column) => column.name) };
    const schema: TableSchema = { name: ['', ''], columns, key: [...columns.keys()] };
    if (kind === 'Key') assert.deepEqual(keyType(schema, names), toConnectType(connect));
    else if (source) assert.deepEqual(envelopeType(schema, names, source.type), toConnectType(connect));
    seen[kind as keyof typeof seen]++;
  }
  assert.ok(seen.Envelope > 30 && seen.Key > 20, JSON.stringify(seen));
});

const fieldsOf = (schema: RecordedConnect): string[] => {
  const [row] = schema.fields ?? [];
  return (row?.fields ?? []).map(({ field }) => field ?? '');
};

test('names are adjusted as recorded', () => {
  const { schemas } = loadGolden(
    goldenCases('postgres').find((dir) => dir.endsWith('/quoted-identifiers')) ?? '',
  );
  const tables: [TableName, string[]][] = [
    [
      ['My Schema', 'Order Lines.v2'],
      ['Id', 'select', 'with space', 'dot.ted', 'größe', '1st', 'a-b', 'quo"te'],
    ],
    [
      ['public', 'Ünï'],
      ['ключ', 'v'],
    ],
    [['public', 'UPPER'], ['ID']],
  ];
  for (const [table, names] of tables) {
    const record = recordName(topicName('golden', table));
    const connect = Object.values(schemas).find(
      (schema) => schema.connect.name === `${record}.Envelope`,
    )?.connect;
    assert.ok(connect, record);
    assert.deepEqual(fieldNames(table, names.map(column)), fieldsOf(connect));
  }
});

const column = (name: string): Column => ({
  id: 1,
  name,
  type: { type: 'int32' },
  sourceType: 'int4',
  optional: true,
});

test('record names are names to strict readers', () => {
  assert.equal(recordName('my-app.public.1st'), 'my_app.public._1st');
  assert.equal(recordName('1app.a..b.'), '_app.a._.b._');
});

test('escaped names are names to strict readers, and no two are alike', () => {
  assert.equal(recordName('my-app.public.1st_a', 'avro_unicode'), 'my_u002dapp.public._u0031st_u005fa');
  assert.deepEqual(
    fieldNames(['public', 't'], ['a-b', 'a_b', '1st', 'größe', 'ключ'].map(column), 'avro_unicode'),
    ['a_u002db', 'a_u005fb', '_u0031st', 'gr_u00f6_u00dfe', '_u43a_u43b_u44e_u447'],
  );
});

test('names as they are: what Avro does not have is refused', () => {
  assert.deepEqual(fieldNames(['public', 't'], ['größe', 'a_b', '_1'].map(column), 'none'), [
    'größe',
    'a_b',
    '_1',
  ]);
  assert.equal(recordName('app.public.t', 'none'), 'app.public.t');
  for (const name of ['a-b', 'with space', '1st', 'dot.ted', '']) {
    assert.throws(() => fieldNames(['public', 't'], [column(name)], 'none'), { kind: 'name_collision' });
  }
  assert.throws(() => recordName('my-app.public.t', 'none'), { kind: 'name_collision', message: /my-app/ });
});

test('two columns of one field are refused with both names', () => {
  assert.throws(() => fieldNames(['public', 't'], ['a-b', 'a_b'].map(column)), {
    kind: 'name_collision',
    message: /"a-b" and "a_b" of public\.t .* field a_b/,
  });
});

test('two tables of one topic are refused with both names, the same table twice is not', () => {
  const claims = new Map<string, TableName>();
  assert.equal(claimTopic(claims, 'p', ['public', 'a b']), 'p.public.a_b');
  assert.equal(claimTopic(claims, 'p', ['public', 'a b']), 'p.public.a_b');
  assert.throws(() => claimTopic(claims, 'p', ['public', 'a$b']), {
    kind: 'name_collision',
    message: /"public\.a\$b" .* p\.public\.a_b, which belongs to "public\.a b"/,
  });
});

test('a table on one of the topics of Varve itself is refused', () => {
  assert.throws(() => claimTopic(new Map(), 'p', ['varve', 'state']), {
    kind: 'name_collision',
    message: /belongs to Varve itself/,
  });
});

test('a default that JSON cannot hold exactly is printed digit by digit or left out', () => {
  const struct = (field: ConnectField): string => avroSchema({ type: 'struct', name: 'r', fields: [field] });
  const wide = struct({ field: 'f', type: { type: 'int64' }, optional: true, default: '9007199254740993' });
  const type = '[{"type":"long","connect.default":9007199254740993},"null"]';
  assert.ok(wide.includes(`"fields":[{"name":"f","type":${type},"default":9007199254740993}]`), wide);
  const nan = struct({ field: 'f', type: { type: 'float64' }, optional: true, default: 'NaN' });
  assert.ok(nan.includes('{"name":"f","type":["null","double"],"default":null}'), nan);
});
