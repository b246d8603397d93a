// Damaged bytes: the frame buffer and the decoder may refuse them with `protocol_error` (or `table_stale`,
// for a row without its key) and nothing else: no crash, no endless loop, no event from a message that was
// not whole.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { placeAt } from '../../connectors/postgres/log-place.ts';
import { EventDecoder } from '../../connectors/postgres/log-reader-events.ts';
import { FrameBuffer } from '../../connectors/postgres/replication-frames.ts';
import { makeSourcePosition } from '../../connectors/postgres/source-block.ts';
import type { LogTable } from '../../src/change/event.ts';
import { VarveError } from '../../src/errors.ts';
import { asText, type Copy, copyEvent } from '../connectors/postgres/log-reader-harness.ts';
import {
  begin,
  bytes,
  commit,
  i32,
  relation,
  row,
  text,
  u64,
  wal,
} from '../connectors/postgres/pgoutput-messages.ts';
import { atLevel } from '../support/level.ts';

const frame = (body: Buffer): Buffer => bytes('d', i32(body.length + 4), body);

/** One of everything, so that a mutation may hit any field of any message. */
const MESSAGES = [
  begin(0x100n, 77),
  wal(bytes('O', u64(1n), text('node'))),
  wal(bytes('Y', i32(90_000), text('public'), text('mood'))),
  relation(7, ['id', 'v', 'w']),
  row('I', 7, { n: ['1', 'value', null] }),
  row('U', 7, { n: ['1', undefined, 'w'] }),
  row('U', 7, { k: ['1', null, null], n: ['2', 'x', undefined] }),
  row('U', 7, { o: ['2', 'x', 'old'], n: ['2', 'y', undefined] }),
  wal(bytes('M', Buffer.of(1), u64(1n), text('prefix'), i32(4), 'body')),
  row('D', 7, { k: ['2', null, null] }),
  wal(bytes('T', i32(1), Buffer.of(1), i32(7))),
  commit(0x100n, 0x180n),
  begin(0x200n, 78),
  row('I', 7, { n: ['3', '', ''] }),
  commit(0x200n, 0x280n),
];
const STREAM = Buffer.concat(MESSAGES.map(frame));

/**
 * Everything that comes of a stream until it ends or is refused; any other error passes through and fails
 * the test.
 */
const readAll = (stream: Uint8Array, step: number): { events: Copy[]; consumed: number } => {
  const frames = new FrameBuffer({ highWater: 1024, slack: 4096 });
  const decoder = new EventDecoder<LogTable>(placeAt(0n), makeSourcePosition());
  const events: Copy[] = [];
  let consumed = 0;
  try {
    for (let at = 0; at < stream.length; at += step) {
      const piece = stream.subarray(at, at + step);
      frames.append(piece, piece.length);
      while (frames.next()) {
        for (let e = decoder.decode(frames.bytes, frames.start, frames.end); e; e = decoder.takeWaiting()) {
          if (e.kind === 'row') {
            for (const cells of [e.before, e.after]) {
              if (cells === null) continue;
              const isInside = cells.kind.every(
                (kind, n) =>
                  kind !== 1 ||
                  ((cells.start[n] ?? -1) >= frames.start && (cells.end[n] ?? -1) <= frames.end),
              );
              assert.ok(isInside, 'a cell points outside its message');
            }
          } else events.push(copyEvent(e));
        }
        if (decoder.pending) decoder.settle(asText(decoder.pending));
        consumed++;
      }
    }
  } catch (error) {
    assert.ok(error instanceof VarveError, String(error));
    assert.ok(['protocol_error', 'table_stale'].includes(error.kind), error.message);
  }
  return { events, consumed };
};

const whole = readAll(STREAM, STREAM.length);

test('the undamaged stream is read to its end, however it is cut', () => {
  assert.equal(whole.consumed, MESSAGES.length);
  for (const step of [1, 7, 100]) assert.deepEqual(readAll(STREAM, step), whole);
});

const RUNS = atLevel({ test: 20_000, all: 20_000, deep: 350_000 });

test('changed bytes', () => {
  const change = fc.record({ at: fc.nat(STREAM.length - 1), to: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 50, max: 2000 }),
      (changes, step) => {
        const stream = Uint8Array.from(STREAM);
        for (const { at, to } of changes) stream[at] = to;
        readAll(stream, step);
      },
    ),
    { numRuns: RUNS },
  );
});

test('removed, doubled and inserted pieces', () => {
  const edit = fc.record({
    at: fc.nat(STREAM.length),
    drop: fc.nat(40),
    insert: fc.uint8Array({ maxLength: 20 }),
    isDoubled: fc.boolean(),
  });
  fc.assert(
    fc.property(edit, ({ at, drop, insert, isDoubled }) => {
      const kept = STREAM.subarray(isDoubled ? Math.max(0, at - drop) : Math.min(STREAM.length, at + drop));
      readAll(Buffer.concat([STREAM.subarray(0, at), insert, kept]), 500);
    }),
    { numRuns: RUNS },
  );
});

test('a message cut at any byte gives nothing of itself', () => {
  for (const [index, message] of MESSAGES.entries()) {
    const before = MESSAGES.slice(0, index).map(frame);
    const expected = readAll(Buffer.concat(before), 4096);
    for (let length = 0; length < message.length; length++) {
      const cut = readAll(Buffer.concat([...before, frame(message.subarray(0, length))]), 4096);
      assert.deepEqual(cut, expected, `message ${index} cut at ${length}`);
    }
  }
});

test('arbitrary bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (body) => {
      readAll(body, 400);
      readAll(frame(wal(Buffer.from(body))), 400);
    }),
    { numRuns: RUNS },
  );
});
