// Owns a log reader whose events are given beforehand: for tests of what consumes a log. Rows are text cells.
import type { LogChunk, LogReader } from '../../src/capture/log-reader.ts';
import type { LogEvent, ResumePoint, RowChange } from '../../src/change/event.ts';
import { CELL_NULL, CELL_VALUE, type Cells, makeCells } from '../../src/change/row.ts';
import type { Column, TableSchema } from '../../src/change/schema.ts';
import type { EncodeValue, PreparedTable, SourceBlock } from '../../src/topic/prepared-table.ts';

const utf8 = new TextEncoder();

const encodeText: EncodeValue = (bytes, start, end, out) => {
  out.prefixed(bytes, start, end);
  return true;
};

/** A table of text columns; the first is the key. */
export const textTable = (
  name: string,
  columns: readonly string[],
  optional: readonly string[] = [],
): PreparedTable => {
  const made = columns.map(
    (column, at): Column => ({
      id: at + 1,
      name: column,
      type: { type: 'string' },
      sourceType: 'text',
      optional: optional.includes(column),
    }),
  );
  const schema: TableSchema = { name: ['public', name], columns: made, key: [0] };
  return {
    schema,
    encode: columns.map(() => encodeText),
    text: (_column, bytes, start, end) => new TextDecoder().decode(bytes.subarray(start, end)),
    relax: (column) => textTable(name, columns, [...optional, columns[column] ?? '']),
  };
};

const textCells = (values: readonly (string | null)[]): Cells => {
  const cells = makeCells(values.length);
  const parts = values.map((value) => utf8.encode(value ?? ''));
  cells.bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const [index, part] of parts.entries()) {
    cells.kind[index] = values[index] === null ? CELL_NULL : CELL_VALUE;
    cells.start[index] = at;
    cells.bytes.set(part, at);
    at += part.length;
    cells.end[index] = at;
  }
  return cells;
};

export const insert = (
  table: PreparedTable,
  ordinal: number,
  values: readonly (string | null)[],
): RowChange<PreparedTable> => ({
  kind: 'row',
  op: 'c',
  table,
  ordinal,
  before: null,
  beforeIsKey: false,
  after: textCells(values),
  keyChanged: false,
});

/** A transaction of inserts that ends at `position + 1`. */
export const transaction = (
  position: number,
  rows: readonly (readonly [PreparedTable, readonly (string | null)[]])[],
): LogEvent<PreparedTable>[] => [
  { kind: 'begin', position: BigInt(position), commitTs: BigInt(position) * 1000n, txId: `${position}` },
  ...rows.map(([table, values], ordinal) => insert(table, ordinal, values)),
  { kind: 'commit', resume: `${position + 1}` },
];

export const EMPTY_BLOCK: SourceBlock = {
  type: {
    type: 'struct',
    name: 'test.Source',
    fields: [{ field: 'ts_us', type: { type: 'int64' }, optional: false }],
  },
  write: (out, { commitTs }) => out.bigLong(commitTs),
};

export type ScriptedLog = LogReader<PreparedTable> & {
  readonly confirmed: ResumePoint[];
  readonly readFrom: ResumePoint[];
};

/** Hands out each array as one chunk; then waits for the abort, unless `ends`. */
export const scriptedLog = (
  chunks: readonly (readonly LogEvent<PreparedTable>[])[],
  { ends = true }: { ends?: boolean } = {},
): ScriptedLog => {
  const confirmed: ResumePoint[] = [];
  const readFrom: ResumePoint[] = [];
  async function* read(after: ResumePoint, signal: AbortSignal): AsyncGenerator<LogChunk<PreparedTable>> {
    readFrom.push(after);
    for (const [at, events] of chunks.entries()) {
      if (signal.aborted) return;
      let next = 0;
      yield { next: () => events[next++] ?? null, behind: at < chunks.length - 1 };
      await new Promise(setImmediate);
    }
    if (ends || signal.aborted) return;
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }
  return {
    confirmed,
    readFrom,
    read,
    confirm: (point) => void confirmed.push(point),
    close: async () => undefined,
  };
};
