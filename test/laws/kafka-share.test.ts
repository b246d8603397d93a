// Owns the laws of sharing topics among workers: all are worked on, by one each, evenly, and calmly.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Candidate, shareTopics } from '../../src/topic/kafka/share.ts';

const topic = fc.constantFrom(...Array.from({ length: 12 }, (_, at) => `t${at}`));
const some = fc.uniqueArray(topic);
const members: fc.Arbitrary<Candidate[]> = fc.uniqueArray(
  fc.record({ id: fc.string({ maxLength: 3 }), topics: some, owned: some }),
  { minLength: 1, maxLength: 6, selector: ({ id }) => id },
);

const known = (all: readonly Candidate[]): string[] =>
  [...new Set(all.flatMap(({ topics }) => topics))].sort();

test('every known topic has one member, and no member has two more than another', () => {
  fc.assert(
    fc.property(members, (all) => {
      const shares = shareTopics(all);
      assert.deepEqual([...shares.keys()].sort(), all.map(({ id }) => id).sort());
      assert.deepEqual([...shares.values()].flat().sort(), known(all));
      const sizes = [...shares.values()].map(({ length }) => length);
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
    }),
  );
});

test('the order of the members does not matter, and asked again nothing changes hands', () => {
  fc.assert(
    fc.property(members, (all) => {
      const shares = shareTopics(all);
      assert.deepEqual(new Map([...shareTopics(all.toReversed())].sort()), new Map([...shares].sort()));
      const settled = all.map((one) => ({ ...one, owned: shares.get(one.id) ?? [] }));
      const again = shareTopics(settled);
      for (const [id, share] of again) assert.deepEqual(share.sort(), shares.get(id)?.sort());
    }),
  );
});

test('who comes new takes its share and no more; who goes leaves its own to the others', () => {
  fc.assert(
    fc.property(members, fc.boolean(), (all, comes) => {
      const shares = shareTopics(all);
      const settled = all.map((one) => ({ id: one.id, topics: known(all), owned: shares.get(one.id) ?? [] }));
      const now = comes ? [...settled, { id: 'newcomer', topics: [], owned: [] }] : settled.slice(1);
      if (now.length === 0) return;
      const after = shareTopics(now);
      const moved = [...after].flatMap(([id, share]) =>
        share.filter((one) => !shares.get(id)?.includes(one)),
      );
      const expected = comes ? after.get('newcomer')?.length : settled[0]?.owned.length;
      assert.equal(moved.length, expected);
    }),
  );
});
