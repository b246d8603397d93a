// What is no answer is an error of ours, wherever it breaks off or goes wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metadataV12, Reader, Writer } from '@platformatic/kafka';
import fc from 'fast-check';
import { VarveError } from '../../../src/errors.ts';
import { libraryCall } from '../../../src/topic/kafka/library-call.ts';

const NOT_LEADER = 6;

/** Of a cluster with one broker and one topic, whose only partition has an error. */
const answer = (): Buffer =>
  Writer.create()
    .appendInt32(0)
    .appendArray([1], (w, id) =>
      w.appendInt32(id).appendString('broker').appendInt32(9092).appendString(null),
    )
    .appendString('cluster')
    .appendInt32(1)
    .appendArray(['shop'], (w, name) =>
      w
        .appendInt16(0)
        .appendString(name)
        .appendUUID('00000000-0000-0000-0000-000000000001')
        .appendBoolean(false)
        .appendArray([0], (p, index) => {
          p.appendInt16(NOT_LEADER).appendInt32(index).appendInt32(1).appendInt32(7);
          for (let list = 0; list < 3; list++) p.appendArray([1], (n, id) => n.appendInt32(id), true, false);
        })
        .appendInt32(0),
    )
    .appendTaggedFields().buffer;

const read = (bytes: Buffer): Promise<ReturnType<typeof metadataV12.parseResponse>> =>
  libraryCall(async () => Reader.from(bytes), metadataV12, [[], false, false]);

test('an answer in which one item is an error comes back whole', async () => {
  const { brokers, topics } = await read(answer());
  assert.deepEqual([brokers.length, topics[0]?.name], [1, 'shop']);
  assert.deepEqual(topics[0]?.partitions[0]?.errorCode, NOT_LEADER);
});

test('an answer that breaks off is no answer', async () => {
  const whole = answer();
  for (let length = 0; length < whole.length - 1; length++) {
    await assert.rejects(read(Buffer.from(whole.subarray(0, length))), (error) => {
      assert.ok(error instanceof VarveError);
      assert.equal(error.kind, 'protocol_error', `cut at ${length}`);
      return true;
    });
  }
});

test('damaged bytes are read or refused, and nothing else happens', async () => {
  const whole = answer();
  const spoilt = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(spoilt, async (changes) => {
      const bytes = Buffer.from(whole);
      for (const [at, value] of changes) bytes[at] = value;
      await read(bytes).catch((error) => assert.ok(error instanceof VarveError, String(error)));
    }),
    { numRuns: 300 },
  );
});
