// Owns the laws of the read_committed filter: a log of any producers, commits and aborts, read in any pieces,
// gives the committed records, in order, once. The model log cuts as a broker does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { crc32c } from '../../src/topic/crc32c.ts';
import { onlyCommitted } from '../../src/topic/kafka/committed.ts';
import { type Aborted, splitBatches } from '../../src/topic/kafka/fetch.ts';
import { RecordBatchBuilder, readRecords } from '../../src/topic/record-batch.ts';
import { AT, baseOffsetBytes, readBatchHeader } from '../../src/topic/record-batch-header.ts';

type Step =
  | { kind: 'write'; producer: number; records: number }
  /** Not transactional; idempotent producers have an id all the same. */
  | { kind: 'plain'; producer: number; records: number }
  /** What compaction leaves of a batch. */
  | { kind: 'emptied'; producer: number; records: number }
  | { kind: 'end'; producer: number; commit: boolean };
type Logged = { base: number; end: number; bytes: Uint8Array };
type Range = Aborted & { marker: number };
type Log = { batches: Logged[]; aborted: Range[]; committed: number[]; committedEnd: number };

const TRANSACTIONAL = 16;
const CONTROL = 32;
const EPOCH = 7;

type Seal = { base: number; producer: number; attributes: number };

const sealAgain = (batch: Uint8Array, { base, producer, attributes }: Seal): Uint8Array => {
  batch.set(baseOffsetBytes(base));
  const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
  view.setInt32(AT.leaderEpoch, EPOCH);
  view.setInt16(AT.attributes, attributes);
  view.setBigInt64(AT.producerId, BigInt(producer));
  view.setUint32(AT.crc, crc32c(batch, AT.attributes));
  return batch;
};

const dataOf = (base: number, { kind, producer, records }: Exclude<Step, { kind: 'end' }>): Uint8Array => {
  const attributes = kind === 'write' ? TRANSACTIONAL : 0;
  const builder = new RecordBatchBuilder(128);
  for (let at = 0; at < records; at++) {
    builder.beginRecord(0);
    builder.nullKey();
    builder.nullValue();
    builder.endRecord();
  }
  const batch = sealAgain(builder.finish(), { base, producer, attributes });
  if (kind !== 'emptied') return batch;
  const left = batch.slice(0, AT.records);
  const view = new DataView(left.buffer);
  view.setInt32(AT.length, left.length - AT.leaderEpoch);
  view.setInt32(AT.count, 0);
  return sealAgain(left, { base, producer, attributes });
};

const markerOf = (base: number, producer: number, commit: boolean): Uint8Array => {
  const builder = new RecordBatchBuilder(128);
  builder.beginRecord(0);
  builder.beginKey();
  builder.writer.raw(Uint8Array.of(0, 0, 0, commit ? 1 : 0));
  builder.endKey();
  builder.nullValue();
  builder.endRecord();
  return sealAgain(builder.finish(), { base, producer, attributes: TRANSACTIONAL | CONTROL });
};

const play = (steps: readonly Step[]): Log => {
  const log: Log = { batches: [], aborted: [], committed: [], committedEnd: 0 };
  const open = new Map<number, { first: number; offsets: number[] }>();
  let end = 0;
  const append = (bytes: Uint8Array, records: number): number[] => {
    log.batches.push({ base: end, end: end + records, bytes });
    end += records;
    return Array.from({ length: records }, (_, at) => end - records + at);
  };
  for (const step of steps) {
    if (step.kind === 'plain') log.committed.push(...append(dataOf(end, step), step.records));
    else if (step.kind === 'emptied') append(dataOf(end, step), step.records);
    else if (step.kind === 'write') {
      const transaction = open.get(step.producer) ?? { first: end, offsets: [] };
      open.set(step.producer, transaction);
      transaction.offsets.push(...append(dataOf(end, step), step.records));
    } else {
      const transaction = open.get(step.producer);
      if (transaction === undefined) continue;
      open.delete(step.producer);
      if (step.commit) log.committed.push(...transaction.offsets);
      else {
        const producerId = BigInt(step.producer);
        log.aborted.push({ producerId, firstOffset: BigInt(transaction.first), marker: end });
      }
      append(markerOf(end, step.producer, step.commit), 1);
    }
  }
  log.committedEnd = Math.min(end, ...[...open.values()].map(({ first }) => first));
  log.committed = log.committed.filter((offset) => offset < log.committedEnd).sort((a, b) => a - b);
  return log;
};

/** As a broker answers: whole batches from the one that holds `from` on, then a piece of the next. */
const answer = (log: Log, from: number, { count, piece, slack }: Cut) => {
  const readable = log.batches.filter((batch) => batch.end > from && batch.base < log.committedEnd);
  const whole = readable.slice(0, count);
  const next = readable[count]?.bytes ?? new Uint8Array(0);
  const records = Buffer.concat([
    ...whole.map(({ bytes }) => bytes),
    next.subarray(0, Math.min(piece, next.length - 1)),
  ]);
  // The broker's index is coarse: it names aborted transactions up to somewhat behind what it sends.
  const upTo = (whole.at(-1)?.end ?? from) + slack;
  const aborted = log.aborted.filter(
    ({ firstOffset, marker }) => marker >= from && Number(firstOffset) < upTo,
  );
  return { records, aborted: aborted.map(({ producerId, firstOffset }) => ({ producerId, firstOffset })) };
};

type Cut = { count: number; piece: number; slack: number };

const producer = fc.integer({ min: 0, max: 3 });
const records = fc.integer({ min: 1, max: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), producer, records }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('plain', 'emptied'), producer, records }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), producer, commit: fc.boolean() }) },
);
const cut: fc.Arbitrary<Cut> = fc.record({
  count: fc.integer({ min: 1, max: 5 }),
  piece: fc.nat(80),
  slack: fc.nat(6),
});

const endOf = (by: number, commit: boolean): Step => ({ kind: 'end', producer: by, commit });

const offsetsOf = (batches: readonly Uint8Array[], from: number): number[] => {
  const offsets: number[] = [];
  for (const batch of batches) readRecords(batch, ({ offset }) => offset >= from && offsets.push(offset));
  return offsets;
};

const readAll = (log: Log, cuts: readonly Cut[], start: number): number[] => {
  const seen: number[] = [];
  let from = start;
  for (let at = 0; from < log.committedEnd; at++) {
    const { records: bytes, aborted } = answer(log, from, cuts[at % cuts.length] as Cut);
    const shuffled = at % 2 ? [...aborted].reverse() : aborted;
    const committedEnd = BigInt(log.committedEnd);
    const found = onlyCommitted(splitBatches(bytes), { aborted: shuffled, committedEnd });
    assert.ok(found.nextOffset !== null && found.nextOffset > from, 'every answer leads on');
    assert.equal(found.lastEpoch, EPOCH);
    assert.ok(found.batches.every((batch) => readBatchHeader(batch).records > 0));
    seen.push(...offsetsOf(found.batches, from));
    from = Number(found.nextOffset);
  }
  assert.equal(from, log.committedEnd);
  return seen;
};

test('what is handed out is what was committed, in order, once, however the log is cut', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }),
      fc.array(cut, { minLength: 1, maxLength: 8 }),
      fc.record({ anywhere: fc.nat(100), open: fc.constantFrom(-1, -1, 0, 1, 2) }),
      (steps, cuts, { anywhere, open }) => {
        // All but one are decided in the end, else little would lie below the first that is open.
        const ends = [0, 1, 2, 3].filter((at) => at !== open).map((at) => endOf(at, at % 2 === 0));
        const log = play([...steps, ...ends]);
        const start = Math.min(anywhere, log.committedEnd);
        const expected = log.committed.filter((offset) => offset >= start);
        assert.deepEqual(readAll(log, cuts, start), expected);
      },
    ),
    { numRuns: 500 },
  );
});

test('two aborts of one producer in one answer are left out, and what it commits later is not', () => {
  const write = (count: number): Step => ({ kind: 'write', producer: 1, records: count });
  const [abort, commit] = [endOf(1, false), endOf(1, true)];
  const log = play([write(2), abort, write(3), abort, write(1), commit]);
  assert.deepEqual(readAll(log, [{ count: 9, piece: 0, slack: 0 }], 0), [7]);
});

test('an abort whose marker lies behind the answer leaves its records out', () => {
  const log = play([
    { kind: 'write', producer: 1, records: 2 },
    { kind: 'write', producer: 2, records: 2 },
    endOf(2, true),
    endOf(1, false),
  ]);
  assert.deepEqual(readAll(log, [{ count: 1, piece: 3, slack: 0 }], 0), [2, 3]);
});

test('nothing above the committed end is handed out, even if it was sent', () => {
  const log = play([
    { kind: 'plain', producer: -1, records: 1 },
    { kind: 'write', producer: 1, records: 2 },
    { kind: 'plain', producer: -1, records: 1 },
  ]);
  assert.equal(log.committedEnd, 1);
  const all = log.batches.map(({ bytes }) => bytes);
  const found = onlyCommitted(all, { aborted: [], committedEnd: 1n });
  assert.deepEqual([offsetsOf(found.batches, 0), found.nextOffset], [[0], 1n]);
  const none = onlyCommitted(all, { aborted: [], committedEnd: 0n });
  assert.deepEqual(none, { batches: [], nextOffset: null, lastEpoch: -1 });
});

test('a damaged batch that nobody would see otherwise is named', () => {
  const { batches, aborted } = play([{ kind: 'write', producer: 1, records: 2 }, endOf(1, false)]);
  for (const damaged of [0, 1]) {
    const copies = batches.map(({ bytes }) => bytes.slice());
    const [last] = [copies[damaged]?.length ?? 0];
    copies[damaged]?.set([0xff], last - 1);
    assert.throws(() => onlyCommitted(copies, { aborted, committedEnd: 9n }), { kind: 'record_corrupt' });
  }
});

test('a cut answer gives its whole batches and no byte of them is copied', () => {
  const batches = play([
    { kind: 'plain', producer: -1, records: 3 },
    { kind: 'plain', producer: -1, records: 2 },
  ]).batches.map(({ bytes }) => bytes);
  const all = Buffer.concat(batches);
  for (let length = 0; length <= all.length; length++) {
    const whole = splitBatches(all.subarray(0, length));
    const expected = [0, batches[0]?.length ?? 0, all.length].findLastIndex((end) => end <= length);
    assert.equal(whole.length, expected);
    for (const batch of whole) assert.equal(batch.buffer, all.buffer);
  }
});
