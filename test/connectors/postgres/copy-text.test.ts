// Laws of the COPY text reader: whatever the server writes comes back byte for byte, however it is cut.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CopyRows } from '../../../connectors/postgres/copy-text.ts';
import { CELL_NULL } from '../../../src/change/row.ts';
import { VarveError } from '../../../src/errors.ts';

const ESCAPES: Record<string, string> = {
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\v': '\\v',
  '\f': '\\f',
  '\r': '\\r',
  '\\': '\\\\',
};
const escapeText = (text: string): string =>
  text.replace(/[\b\t\n\v\f\r\\]/g, (char) => ESCAPES[char] ?? char);
const write = (rows: readonly (readonly (string | null)[])[]): Uint8Array =>
  new TextEncoder().encode(
    rows
      .map((row) => `${row.map((cell) => (cell === null ? '\\N' : escapeText(cell))).join('\t')}\n`)
      .join(''),
  );

/** Copies `bytes` in pieces cut at `cuts`, as the reader undoes escapes in place. */
const readAll = (bytes: Uint8Array, columns: number, cuts: readonly number[] = []): (string | null)[][] => {
  const rows = new CopyRows(columns);
  const bounds = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const read: (string | null)[][] = [];
  for (let piece = 1; piece < bounds.length; piece++) {
    const padded = new Uint8Array([7, 7, ...bytes.subarray(bounds[piece - 1], bounds[piece]), 7]);
    rows.feed(padded, 2, padded.length - 1);
    for (let cells = rows.next(); cells !== null; cells = rows.next()) {
      const row: (string | null)[] = [];
      for (let column = 0; column < columns; column++) {
        row.push(
          cells.kind[column] === CELL_NULL
            ? null
            : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
                cells.bytes.subarray(cells.start[column], cells.end[column]),
              ),
        );
      }
      read.push(row);
    }
  }
  assert.equal(rows.midRow, false);
  return read;
};

const cell = fc.option(
  fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom('\\', 'N', '\t', '\n', '\r', '\b', 'b', '.', '') }),
    fc.constantFrom('', '\\N', '\\.', 'N', '\\\\', '\n\n'),
  ),
);

test('every row comes back byte for byte, however the bytes are cut', () => {
  const tables = fc
    .integer({ min: 1, max: 5 })
    .chain((columns) =>
      fc.array(fc.array(cell, { minLength: columns, maxLength: columns }), { maxLength: 20 }),
    );
  fc.assert(
    fc.property(tables, fc.array(fc.nat(), { maxLength: 8 }), (rows, cuts) => {
      assert.deepEqual(readAll(write(rows), rows[0]?.length ?? 1, cuts), rows);
    }),
  );
});

test('null, the empty string and the text \\N are three values', () => {
  assert.deepEqual(readAll(new TextEncoder().encode('\\N\t\t\\\\N\n'), 3), [[null, '', '\\N']]);
});

test('a table without columns has rows all the same', () => {
  assert.deepEqual(readAll(new TextEncoder().encode('\n\n\n'), 0), [[], [], []]);
});

test('a row of another shape stops, and a torn one is seen', () => {
  for (const text of ['1\t2\n', '1\t2\t3\t4\n', '1\t\\x41\t3\n', '1\t\\N2\t3\n', '1\t\\\t3\n']) {
    assert.throws(
      () => readAll(new TextEncoder().encode(text), 3),
      (error) => error instanceof VarveError && error.kind === 'protocol_error',
      text,
    );
  }
  const rows = new CopyRows(2);
  rows.feed(new TextEncoder().encode('1\t2\n3\t'), 0, 6);
  assert.notEqual(rows.next(), null);
  assert.equal(rows.next(), null);
  assert.equal(rows.midRow, true);
});

test('no bytes hang or crash the reader', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 4 }), (bytes, columns) => {
      const rows = new CopyRows(columns);
      try {
        rows.feed(bytes, 0, bytes.length);
        for (let count = 0; rows.next() !== null; count++) assert.ok(count <= bytes.length);
      } catch (error) {
        assert.ok(error instanceof VarveError && error.kind === 'protocol_error');
      }
    }),
  );
});
