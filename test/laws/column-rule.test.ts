// What is hidden of a value: known digests, and that nothing else of it gets out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteWriter } from '../../src/topic/byte-writer.ts';
import { type HidingRule, hiddenType, hideValue } from '../../src/topic/column-rule.ts';

const decoder = new TextDecoder();
const read = (bytes: Uint8Array, start: number, end: number): string =>
  decoder.decode(bytes.subarray(start, end));

const hide = (rule: HidingRule, text: string, limit: number | null = null): string => {
  const out = new ByteWriter(8);
  const bytes = Buffer.from(`>${text}<`);
  assert.equal(hideValue(rule, limit, read)(bytes, 1, bytes.length - 1, out), true, 'never noted elsewhere');
  const [first = 0, second = 0] = out.bytes;
  const prefix = first > 0x7f ? 2 : 1;
  const length = (prefix === 1 ? first : (first & 0x7f) | (second << 7)) / 2;
  assert.equal(out.pos, prefix + length);
  return decoder.decode(out.bytes.subarray(prefix, out.pos));
};

const hash = (algorithm: string): HidingRule => ({ rule: 'hash', algorithm, salt: 'salt' });

test('digests are those of salt and value in hexadecimal, as Debezium has them', () => {
  const known: [string, string, string][] = [
    ['sha-256', 'hello', 'cd31b3b98ece60cb739c0bf770b2de892ae0ad133f645513c3d83f08757a843a'],
    ['sha-256', 'world', 'e84ac3142870113ddc6710c06f76421befc8e8ca6de64e98d2993ed8d41f4085'],
    ['md5', 'hello', '06decc8b095724f80103712c235586be'],
    ['md5', 'world', '172c8e95398cc72ab5358ead6981e7e5'],
  ];
  for (const [algorithm, text, digest] of known) assert.equal(hide(hash(algorithm), text), digest);
  for (const algorithm of ['sha-1', 'sha-224', 'sha-384', 'sha-512']) {
    assert.match(hide(hash(algorithm), 'hello'), /^[0-9a-f]{40,128}$/);
  }
});

test('a digest is no longer than its column', () => {
  assert.equal(hide(hash('sha-256'), 'hello', 10), 'cd31b3b98e');
  assert.equal(hide(hash('sha-256'), 'hello', 200).length, 64);
});

test('a mask says nothing of the value', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(60), (text, length) => {
      assert.equal(hide({ rule: 'mask', length }, text), '*'.repeat(length));
    }),
  );
});

test('what is cut is a beginning of the value, of whole characters', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.integer({ min: 1, max: 20 }),
      (text, length) => {
        const cut = hide({ rule: 'truncate', length }, text);
        assert.ok(text.startsWith(cut));
        assert.ok(cut.isWellFormed());
        const lacks = Math.min(length, text.length) - cut.length;
        assert.ok(lacks === 0 || (lacks === 1 && !text.slice(0, length).isWellFormed()));
      },
    ),
  );
});

test('the schema says that a column is hidden', () => {
  assert.deepEqual(hiddenType({ rule: 'mask', length: 3 }), {
    type: 'string',
    parameters: { masked: 'true' },
  });
  assert.deepEqual(hiddenType({ rule: 'truncate', length: 4 }), {
    type: 'string',
    parameters: { truncateLength: '4' },
  });
});
