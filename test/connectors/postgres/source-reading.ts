// How tests read a source to the end: rows of a snapshot, events of the log, and the table that both add up
// to.
import { connector } from '../../../connectors/postgres/connector.ts';
import type { PostgresOptions } from '../../../connectors/postgres/options.ts';
import type { LogEvent } from '../../../src/change/event.ts';
import { CELL_NULL, CELL_UNCHANGED, type Cells } from '../../../src/change/row.ts';
import { tableText } from '../../../src/change/schema.ts';
import type { Source } from '../../../src/connector.ts';
import type { SnapshotSession } from '../../../src/snapshot/chunk-reader.ts';
import type { ColumnRules } from '../../../src/topic/format.ts';
import type { PreparedTable } from '../../../src/topic/prepared-table.ts';
import type { TestPostgres } from '../../support/postgres.ts';

export type SourceParts = {
  pipeline?: string;
  url?: string;
  warnings?: string[];
  columns?: ColumnRules;
} & Partial<PostgresOptions>;

/** A source over the test server with the options of a hand-written file. */
export const openTestSource = (server: TestPostgres, parts: SourceParts = {}): Promise<Source> => {
  const { pipeline = 'test', warnings = [], columns = {}, ...options } = parts;
  return connector.open(
    connector.options.parse({ kind: 'postgres', url: server.url, tables: ['public.*'], ...options }),
    {
      pipeline,
      log: (level, message) => level === 'warn' && warnings.push(message),
      now: () => BigInt(Date.now()) * 1000n,
      columns,
    },
  );
};

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export type Row = Record<string, string | null>;

/** Cells by column name; what was not sent is left out. */
export const rowOf = ({ schema }: PreparedTable, cells: Cells): Row =>
  Object.fromEntries(
    schema.columns.flatMap(({ name }, index): [string, string | null][] => {
      if (cells.kind[index] === CELL_UNCHANGED) return [];
      if (cells.kind[index] === CELL_NULL) return [[name, null]];
      return [[name, text.decode(cells.bytes.subarray(cells.start[index], cells.end[index]))]];
    }),
  );

/** All rows of a snapshot by table, read by `parallel` readers at once. */
export const readSnapshot = async (
  session: SnapshotSession<PreparedTable>,
  parallel = 2,
  signal = new AbortController().signal,
): Promise<Map<string, Row[]>> => {
  const rows = new Map<string, Row[]>();
  const waiting = [...session.chunks];
  const work = async (): Promise<void> => {
    for (let chunk = waiting.shift(); chunk !== undefined; chunk = waiting.shift()) {
      const name = tableText(chunk.table.schema.name);
      const into = rows.get(name) ?? [];
      rows.set(name, into);
      for await (const bunch of session.readChunk(chunk, signal)) {
        for (let cells = bunch.next(); cells !== null; cells = bunch.next())
          into.push(rowOf(chunk.table, cells));
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  return rows;
};

/** Feeds every event up to `end` (or a stale one) to `take`. Rows are flyweights. */
export const readLog = async (
  source: Source,
  { after, end }: { after: string; end: string },
  take: (event: LogEvent<PreparedTable>) => void,
): Promise<void> => {
  const log = source.log();
  try {
    for await (const chunk of log.read(after, new AbortController().signal)) {
      for (let event = chunk.next(); event !== null; event = chunk.next()) {
        take(event);
        if (event.kind === 'stale') return;
        if (event.kind !== 'commit' && event.kind !== 'idle') continue;
        if (source.covers(event.resume, end)) return;
      }
    }
  } finally {
    await log.close();
  }
};

/** The tables as events make them, by table and key. */
export class Replica {
  readonly tables = new Map<string, Map<string, Row>>();

  load(rows: ReadonlyMap<string, readonly Row[]>, key: string): void {
    for (const [table, list] of rows) {
      const into = this.#of(table);
      for (const row of list) {
        const id = String(row[key]);
        if (into.has(id)) throw new Error(`${table} ${id} came twice in the snapshot`);
        into.set(id, row);
      }
    }
  }

  /** Strict: an insert of a key that is there, or a change of one that is not, is a fault of the seam. */
  readonly apply = (event: LogEvent<PreparedTable>): void => {
    if (event.kind === 'truncate')
      for (const table of event.tables) this.#of(tableText(table.schema.name)).clear();
    if (event.kind !== 'row') return;
    const { table, op, before, after, keyChanged } = event;
    const name = tableText(table.schema.name);
    const into = this.#of(name);
    const keyOf = (cells: Cells): string => {
      const row = rowOf(table, cells);
      return table.schema.key.map((index) => row[table.schema.columns[index]?.name ?? '']).join();
    };
    const old =
      op === 'c'
        ? null
        : keyOf(before !== null && (keyChanged || op === 'd') ? before : ((after ?? before) as Cells));
    const was = old === null ? undefined : into.get(old);
    if (old !== null && was === undefined) throw new Error(`${op} of ${name} ${old}, which is not there`);
    if (old !== null) into.delete(old);
    if (after === null) return;
    const id = keyOf(after);
    if (into.has(id)) throw new Error(`${op} of ${name} ${id}, which is there already`);
    into.set(id, { ...was, ...rowOf(table, after) });
  };

  rows(table: string): Row[] {
    return [...this.#of(table).values()];
  }

  #of(table: string): Map<string, Row> {
    const found = this.tables.get(table) ?? new Map<string, Row>();
    this.tables.set(table, found);
    return found;
  }
}
