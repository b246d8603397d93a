// Owns the row as it comes off the wire: cells that point into a buffer, never copied, never decoded here.
// "Not sent" is a word of its own and is never null.

export const CELL_NULL = 0;
export const CELL_VALUE = 1;
/**
 * The source did not send the value because it did not change (an unchanged large value, a partial image).
 */
export const CELL_UNCHANGED = 2;

/**
 * One row, one cell a column of its table's schema. A flyweight: its owner fills it again for the next row,
 * so whoever keeps a value copies it. `start` and `end` are byte offsets into `bytes`, meaningful for
 * CELL_VALUE only.
 */
export type Cells = {
  bytes: Uint8Array;
  kind: Uint8Array;
  start: Int32Array;
  end: Int32Array;
};

export const makeCells = (columns: number): Cells => ({
  bytes: new Uint8Array(0),
  kind: new Uint8Array(columns),
  start: new Int32Array(columns),
  end: new Int32Array(columns),
});

/** A row that its owner will not fill again. */
export const copyCells = ({ bytes, kind, start, end }: Cells): Cells => {
  const copy = { ...makeCells(kind.length), bytes: new Uint8Array(0) };
  let from = bytes.length;
  let to = 0;
  for (const [at, cell] of kind.entries()) {
    copy.kind[at] = cell;
    if (cell !== CELL_VALUE) continue;
    from = Math.min(from, start[at] as number);
    to = Math.max(to, end[at] as number);
  }
  for (const at of kind.keys()) {
    copy.start[at] = (start[at] as number) - from;
    copy.end[at] = (end[at] as number) - from;
  }
  copy.bytes = bytes.slice(from, Math.max(from, to));
  return copy;
};
