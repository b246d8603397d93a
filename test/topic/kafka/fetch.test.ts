// That the Fetch call is the protocol's: our request is the library's to the byte, and an answer with all
// that may be in it is understood. No broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetchV13, Reader, Writer } from '@platformatic/kafka';
import { type FetchPosition, readFetch, writeFetch } from '../../../src/topic/kafka/fetch.ts';

const ids = ['0198c7e2-0000-7000-8000-0000000000a1', '0198c7e2-0000-7000-8000-0000000000b2'] as const;
const position = (topicId: string, partition: number): FetchPosition => ({
  topicId,
  partition,
  leaderEpoch: 3,
  from: 2n ** 40n + BigInt(partition),
  lastEpoch: partition - 1,
  maxBytes: 1 << 20,
});

test('the request is what the library would send for the same positions', () => {
  const positions = [position(ids[0], 0), position(ids[1], 5), position(ids[0], 1)];
  const ours = Writer.create();
  writeFetch(ours, positions, { maxWaitMs: 200, maxBytes: 1 << 24 });
  const topics = ids.map((topicId) => ({
    topicId,
    partitions: positions
      .filter((one) => one.topicId === topicId)
      .map(({ partition, leaderEpoch, from, lastEpoch, maxBytes }) => ({
        partition,
        currentLeaderEpoch: leaderEpoch,
        fetchOffset: from,
        lastFetchedEpoch: lastEpoch,
        partitionMaxBytes: maxBytes,
      })),
  }));
  const theirs = fetchV13.createRequest(200, 1, 1 << 24, 1, 0, -1, topics, [], '');
  assert.deepEqual(ours.buffer, theirs.buffer);
});

type Answered = { error?: number; aborted?: boolean; records: Buffer | null; tags?: Buffer };

const writePartition = (out: Writer, { error = 0, aborted, records, tags }: Answered, at: number): void => {
  out.appendInt32(at).appendInt16(error).appendInt64(90n).appendInt64(80n).appendInt64(10n);
  const list = aborted ? [7n, 8n] : null;
  out.appendArray(list, (writer, id) => {
    writer.appendInt64(id).appendInt64(id * 10n);
  });
  out
    .appendInt32(-1)
    .appendBytes(records)
    .append(tags ?? Buffer.of(0));
};

test('an answer is read with aborts, refusals, unknown tags and the place where the log diverged', () => {
  const diverged = Writer.create().appendInt32(4).appendInt64(55n).appendTaggedFields().buffer;
  const leader = Writer.create().appendInt32(2).appendInt32(9).appendTaggedFields().buffer;
  const tags = [Buffer.of(3, 0, diverged.length), diverged, Buffer.of(1, leader.length), leader];
  const answered: Answered[] = [
    { aborted: true, records: Buffer.from('abc') },
    { error: 6, records: null },
    { records: Buffer.alloc(0), tags: Buffer.concat([...tags, Buffer.of(9, 2, 1, 1)]) },
    { records: Buffer.from('d') },
  ];
  const out = Writer.create().appendInt32(0).appendInt16(0).appendInt32(0);
  out.appendArray([ids[0]], (writer, id) => {
    writer.appendUUID(id).appendArray(
      answered,
      (one, partition, at) => {
        writePartition(one, partition, at);
      },
      true,
      false,
    );
  });
  const { error, partitions } = readFetch(Reader.from(out.appendTaggedFields().buffer));
  assert.equal(error, 0);
  assert.ok(
    partitions.every(
      ({ topicId, committedEnd, start }) => topicId === ids[0] && committedEnd + start === 90n,
    ),
  );
  const told = partitions.map(({ partition, error: code, aborted, divergedAt, records }) => [
    partition,
    code,
    aborted.map(({ producerId, firstOffset }) => [producerId, firstOffset]),
    divergedAt,
    Buffer.from(records).toString(),
  ]);
  assert.deepEqual(told, [
    [
      0,
      0,
      [
        [7n, 70n],
        [8n, 80n],
      ],
      null,
      'abc',
    ],
    [1, 6, [], null, ''],
    [2, 0, [], 55n, ''],
    [3, 0, [], null, 'd'],
  ]);
});

test('bytes that are no answer are named as such', () => {
  const claims = Writer.create().appendInt32(0).appendInt16(0).appendInt32(0).appendUnsignedVarInt(9);
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(7), claims.buffer]) {
    assert.throws(() => readFetch(Reader.from(bytes)), { kind: 'protocol_error' });
  }
});
