// The decoder on messages written by hand: every kind of message, every refusal.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatPlace, parsePlace, placeAt } from '../../../connectors/postgres/log-place.ts';
import { EventDecoder } from '../../../connectors/postgres/log-reader-events.ts';
import { formatLsn, parseLsn } from '../../../connectors/postgres/lsn.ts';
import { decodeControl, EPOCH_MICROS } from '../../../connectors/postgres/pgoutput.ts';
import { FrameCursor } from '../../../connectors/postgres/pgoutput-cursor.ts';
import { FrameBuffer } from '../../../connectors/postgres/replication-frames.ts';
import { makeSourcePosition } from '../../../connectors/postgres/source-block.ts';
import type { LogTable } from '../../../src/change/event.ts';
import { asText, copyEvent } from './log-reader-harness.ts';
import { begin, bytes, commit, i16, i32, relation, row, text, u64, wal } from './pgoutput-messages.ts';

const control = (tag: string, body: Buffer) =>
  decodeControl(tag.charCodeAt(0), new FrameCursor(body, 0, body.length));

const newDecoder = (after = 0n): EventDecoder<LogTable> =>
  new EventDecoder(placeAt(after), makeSourcePosition());

/** Gives each message to the decoder, settles relations as text, and copies the events. */
const run = (messages: readonly Buffer[], decoder = newDecoder()) =>
  messages.flatMap((message) => {
    const event = decoder.decode(message, 0, message.length);
    if (decoder.pending) decoder.settle(asText(decoder.pending));
    return event ? [copyEvent(event)] : [];
  });

const refuses = (messages: readonly Buffer[], message: RegExp, decoder = newDecoder()): void => {
  assert.throws(() => run(messages, decoder), { name: 'VarveError', kind: 'protocol_error', message });
};

const relationOf = (columns: readonly string[]) => {
  const decoder = newDecoder();
  const message = relation(7, columns);
  decoder.decode(message, 0, message.length);
  assert.ok(decoder.pending);
  return asText(decoder.pending);
};

const start = [begin(0x10n, 5), relation(7, ['id', 'v'])];

describe('control messages', () => {
  test('numbers are unsigned where the server means them so', () => {
    const message = control('B', bytes(u64(0xffff_ffff_ffff_fff0n), u64(0n), i32(0xffff_fffe)));
    assert.deepEqual(message, {
      kind: 'begin',
      finalLsn: 0xffff_ffff_ffff_fff0n,
      commitTs: EPOCH_MICROS,
      xid: 4294967294,
    });
    assert.partialDeepStrictEqual(control('Y', bytes(i32(0xf000_0000), text('s'), text('t'))), {
      oid: 0xf000_0000,
    });
  });

  test('a commit time may lie before 2000', () => {
    const message = control('B', bytes(u64(1n), u64(BigInt.asUintN(64, -1n)), i32(1)));
    assert.partialDeepStrictEqual(message, { commitTs: EPOCH_MICROS - 1n });
  });

  test('a relation of pg_catalog has an empty name on the wire', () => {
    const message = control(
      'R',
      bytes(i32(1), text(''), text('t'), 'd', i16(1), Buffer.of(1), text('c'), i32(25), i32(-1)),
    );
    assert.deepEqual(message, {
      kind: 'relation',
      oid: 1,
      schema: 'pg_catalog',
      name: 't',
      replicaIdentity: 'd',
      columns: [{ isKey: true, name: 'c', typeOid: 25, typmod: -1 }],
    });
  });

  test('origins and logical messages are passed over', () => {
    assert.deepEqual(control('O', bytes(u64(1n), text('node'))), { kind: 'other' });
    assert.deepEqual(control('M', bytes(Buffer.of(1), u64(1n), text('p'), i32(3), 'abc')), { kind: 'other' });
  });

  for (const [name, tag, body] of [
    ['an unknown tag', 'X', bytes()],
    ['a stream start of a later protocol', 'S', bytes(i32(1), Buffer.of(1))],
    ['a begin cut short', 'B', bytes(u64(1n), u64(1n), i16(1))],
    ['a begin with a byte too many', 'B', bytes(u64(1n), u64(1n), i32(1), Buffer.of(0))],
    ['commit flags', 'C', bytes(Buffer.of(1), u64(1n), u64(2n), u64(0n))],
    ['a text without end', 'Y', bytes(i32(1), 'abc')],
    ['a name that is not UTF-8', 'Y', bytes(i32(1), text('s'), Buffer.of(0xff, 0))],
    ['an unknown replica identity', 'R', bytes(i32(1), text('s'), text('t'), 'x', i16(0))],
    [
      'an unknown column flag',
      'R',
      bytes(i32(1), text('s'), text('t'), 'd', i16(1), Buffer.of(2), text('c'), u64(0n)),
    ],
    ['truncate with too many tables', 'T', bytes(i32(0xffff_ffff), Buffer.of(0), i32(1))],
    ['truncate with unknown flags', 'T', bytes(i32(1), Buffer.of(4), i32(1))],
    [
      'a logical message longer than itself',
      'M',
      bytes(Buffer.of(1), u64(1n), text('p'), i32(0x7fff_ffff), 'abc'),
    ],
  ] as const) {
    test(`refuses ${name}`, () => {
      assert.throws(() => control(tag, body), { name: 'VarveError', kind: 'protocol_error' });
    });
  }
});

describe('events', () => {
  test('a transaction', () => {
    const events = run([
      ...start,
      row('I', 7, { n: ['1', null] }),
      row('D', 7, { k: ['1', null] }),
      commit(0x10n, 0x20n),
    ]);
    assert.deepEqual(
      events.map((event) => event.kind),
      ['begin', 'row', 'row', 'commit'],
    );
    const resume = '0/20 (last commit 0/10 to 0/20 at 946684800000000)';
    assert.deepEqual(events.at(-1), { kind: 'commit', resume });
  });

  test('refuses what cannot follow', () => {
    refuses([begin(1n), begin(2n)], /inside another/);
    refuses([commit(1n, 2n)], /another transaction/);
    refuses([begin(1n), commit(2n, 3n)], /another transaction/);
    refuses([begin(1n), commit(1n, 1n)], /another transaction/);
    refuses([begin(5n), commit(5n, 8n), begin(7n)], /came already/);
    refuses([begin(5n)], /came already/, newDecoder(6n));
    refuses([begin(1n), row('I', 9, { n: ['1'] })], /relation 9, which was never described/);
    refuses([relation(7, ['id']), row('I', 7, { n: ['1'] })], /outside a transaction/);
  });

  test('refuses a relation with one name twice, and a schema that is not of its relation', () => {
    refuses([relation(7, ['id', 'id'])], /names a column twice/);
    const decoder = newDecoder();
    const message = relation(7, ['id', 'other']);
    decoder.decode(message, 0, message.length);
    assert.throws(() => decoder.settle(relationOf(['id', 'v'])), { kind: 'internal' });
  });

  test('refuses images that do not fit', () => {
    refuses([...start, row('I', 7, { n: ['1'] })], /1 columns where its relation has 2/);
    refuses([...start, row('I', 7, { k: ['1', '2'] })], /unknown image/);
    refuses([...start, row('D', 7, { n: ['1', '2'] })], /unknown image/);
    refuses([...start, row('D', 7, { k: ['1', null], n: ['1', '2'] })], /too many/);
    refuses([...start, wal(bytes('I', i32(7), 'N', i16(2), 't', i32(100), 'x'))], /longer than itself/);
    refuses([...start, wal(bytes('I', i32(7), 'N', i16(2), 't', i32(-5), 'x'))], /longer than itself/);
    refuses([...start, wal(bytes('I', i32(7), 'N', i16(2), 'b', i32(1), 'x', 'n'))], /unknown kind/);
    refuses([Buffer.from('w')], /cut short/);
  });

  test('an error names the position and what came whole before it', () => {
    const bad = wal(bytes('I', i32(9)), 0x3_0000_0044n);
    refuses([begin(0x10n), commit(0x10n, 0x20n), begin(0x30n), bad], /Position 3\/44, after 0\/20/);
  });

  test('a keepalive counts outside a transaction only', () => {
    const decoder = newDecoder(0x8n);
    assert.equal(decoder.advance(0x4n), 0x8n);
    assert.equal(decoder.advance(0xcn), 0xcn);
    run([begin(0x10n)], decoder);
    assert.equal(decoder.advance(0x90n), null);
    run([commit(0x10n, 0x20n)], decoder);
    assert.equal(decoder.advance(0x90n), 0x90n);
  });

  test('a partition with another column order fills the cells of its root', () => {
    const decoder = newDecoder();
    const root = relationOf(['id', 'v']);
    run([begin(1n)], decoder);
    const leaf = relation(8, ['v', 'id'], ['id']);
    decoder.decode(leaf, 0, leaf.length);
    decoder.settle(root);
    assert.partialDeepStrictEqual(run([row('I', 8, { n: ['value', '1'] })], decoder), [
      { after: ['1', 'value'] },
    ]);
  });
});

describe('frames', () => {
  const frame = (type: string, body: Buffer): Buffer => bytes(type, i32(body.length + 4), body);

  test('come whole, however the stream is cut', () => {
    const stream = Buffer.concat(Array.from({ length: 50 }, (_, n) => frame('d', Buffer.alloc(n * 7, n))));
    for (const step of [1, 3, 10, 1000]) {
      const frames = new FrameBuffer();
      const lengths: number[] = [];
      for (let at = 0; at < stream.length; at += step) {
        const piece = stream.subarray(at, at + step);
        frames.append(piece, piece.length);
        while (frames.next()) {
          lengths.push(frames.end - frames.start);
          assert.ok(
            frames.bytes.subarray(frames.start, frames.end).every((byte) => byte === lengths.length - 1),
          );
        }
      }
      assert.deepEqual(
        lengths,
        Array.from({ length: 50 }, (_, n) => n * 7),
      );
    }
  });

  test('a large one makes the buffer grow for its time only', () => {
    const frames = new FrameBuffer();
    const base = frames.bytes.length;
    const large = frame('d', Buffer.alloc(20 << 20, 1));
    for (let at = 0; at < large.length; at += 1 << 20) {
      const piece = large.subarray(at, at + (1 << 20));
      assert.equal(frames.isFull, false);
      frames.append(piece, piece.length);
    }
    assert.ok(frames.next());
    assert.equal(frames.end - frames.start, 20 << 20);
    frames.append(frame('d', Buffer.from('x')), 6);
    assert.ok(frames.next());
    assert.equal(frames.bytes.length, base);
  });

  test('an impossible length is refused by name', () => {
    for (const length of [0, 3, 0x4000_0001, 0xffff_ffff]) {
      const frames = new FrameBuffer();
      frames.append(bytes('d', i32(length)), 5);
      assert.throws(() => frames.next(), { kind: 'protocol_error', message: new RegExp(String(length)) });
    }
  });
});

describe('positions', () => {
  test('have one text each', () => {
    for (const text of ['0/0', '0/16B3748', 'A/0', 'FFFFFFFF/FFFFFFFF'])
      assert.equal(formatLsn(parseLsn(text)), text);
    assert.equal(formatLsn(parseLsn('0000000a/000000ff')), 'A/FF');
  });

  test('resume points say the last commit along, and come back as they were', () => {
    const last = { position: 0x10n, commitTs: -5n };
    for (const place of [
      placeAt(7n),
      { resume: 0x30n, end: 0x20n, last: null },
      { resume: 0x20n, end: 0x20n, last },
      { resume: 0x1_0000_0030n, end: 0x20n, last },
    ]) {
      const text = formatPlace(place);
      assert.deepEqual(parsePlace(text), place);
      for (const wrong of [`${text})`, ` ${text}`, text.replace('/', ''), `${text} ${text}`])
        assert.throws(() => parsePlace(wrong), { kind: 'state_corrupt' }, wrong);
    }
  });

  test('refuse other texts', () => {
    for (const text of ['', '0', '0/', '1/2/3', 'G/0', '123456789/0', ' 0/0']) {
      assert.throws(() => parseLsn(text), { kind: 'state_corrupt' });
    }
  });
});
