// Two texts of one schema, in the words of different registries; and texts that are two schemas.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSameSchema } from '../../../src/topic/kafka/schema-equal.ts';

const same = (one: unknown, other: unknown): boolean =>
  isSameSchema(JSON.stringify(one), JSON.stringify(other));

const value = {
  type: 'record',
  name: 'Value',
  namespace: 'shop.public.t',
  fields: [
    { name: 'id', type: { type: 'int', 'connect.default': 0 }, default: 0 },
    { name: 'note', type: ['null', 'string'], default: null },
  ],
  'connect.name': 'shop.public.t.Value',
};
const envelope = (inner: unknown, again: string) => ({
  type: 'record',
  name: 'Envelope',
  namespace: 'shop.public.t',
  fields: [
    { name: 'before', type: ['null', inner], default: null },
    { name: 'after', type: ['null', again], default: null },
  ],
});

test('spaces, order of keys, remarks, and long or short names make no other schema', () => {
  assert.ok(isSameSchema('"int"', '{"type": "int"}'));
  assert.ok(isSameSchema(JSON.stringify(value), JSON.stringify(value, null, 2)));
  assert.ok(same(value, Object.fromEntries(Object.entries(value).reverse())));
  assert.ok(same(value, { ...value, doc: 'a table' }));
  const { namespace: _, ...short } = value;
  assert.ok(same(envelope(value, 'shop.public.t.Value'), envelope(short, 'Value')));
  assert.ok(same(envelope(value, 'Value'), envelope({ ...short, name: 'shop.public.t.Value' }, 'Value')));
});

test('another name, type, default, order of fields or attribute is another schema', () => {
  const [id, note] = value.fields;
  assert.ok(!same(value, { ...value, name: 'Other' }));
  assert.ok(!same(value, { ...value, namespace: 'shop.public.u' }));
  assert.ok(!same(value, { ...value, fields: [note, id] }));
  assert.ok(!same(value, { ...value, fields: [{ ...id, default: 1 }, note] }));
  assert.ok(!same(value, { ...value, fields: [{ ...id, type: 'int' }, note] }));
  assert.ok(!same(value, { ...value, fields: [id, { ...note, type: ['string', 'null'] }] }));
  assert.ok(!same(value, { ...value, 'connect.name': 'x' }));
  assert.ok(!same({ type: 'int', logicalType: 'date' }, 'int'));
  assert.ok(!same({ type: 'enum', name: 'e', symbols: ['a'] }, { type: 'enum', name: 'e', symbols: ['b'] }));
  assert.ok(!same(envelope(value, 'shop.public.t.Value'), envelope(value, 'shop.public.u.Value')));
  assert.ok(!isSameSchema('{', '"int"'));
});
