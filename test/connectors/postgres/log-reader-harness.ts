// What the tests of the log reader share: a slot and a publication on a real server, a resolver that takes
// every column as text, and a reading loop that copies events into plain values.
import { randomBytes } from 'node:crypto';
import { parseConnection } from '../../../connectors/postgres/connection.ts';
import { parsePlace } from '../../../connectors/postgres/log-place.ts';
import {
  DEFAULT_TIMING,
  type LogReaderOptions,
  type LogTiming,
  makeLogReader,
  type Resolve,
} from '../../../connectors/postgres/log-reader.ts';
import type { Resolution } from '../../../connectors/postgres/log-reader-events.ts';
import { formatLsn, parseLsn } from '../../../connectors/postgres/lsn.ts';
import type { RelationMessage } from '../../../connectors/postgres/pgoutput.ts';
import { makeSourcePosition } from '../../../connectors/postgres/source-block.ts';
import type { LogReader } from '../../../src/capture/log-reader.ts';
import type { LogEvent, LogTable } from '../../../src/change/event.ts';
import { CELL_UNCHANGED, CELL_VALUE, type Cells } from '../../../src/change/row.ts';
import type { TestPostgres } from '../../support/postgres.ts';

type Value = string | null | undefined;

/** A copy of an event: values as text, null, or undefined for "not sent". */
export type Copy =
  | { kind: 'begin'; position: bigint; txId: string; commitTs: bigint }
  | {
      kind: 'row';
      op: string;
      table: string;
      ordinal: number;
      before: Value[] | null;
      after: Value[] | null;
      beforeIsKey: boolean;
      keyChanged: boolean;
    }
  | { kind: 'truncate'; tables: string[]; ordinal: number }
  | { kind: 'commit'; resume: string }
  | { kind: 'idle'; resume: string }
  | { kind: 'stale'; table: string; reason: string };

const decoder = new TextDecoder('utf-8', { fatal: true });

const copyCells = (cells: Cells | null): Value[] | null => {
  if (cells === null) return null;
  return Array.from(cells.kind, (kind, index) => {
    if (kind === CELL_UNCHANGED) return undefined;
    if (kind !== CELL_VALUE) return null;
    return decoder.decode(cells.bytes.subarray(cells.start[index], cells.end[index]));
  });
};

const nameOf = (table: LogTable): string => table.schema.name.join('.');

export const copyEvent = (event: LogEvent<LogTable>): Copy => {
  switch (event.kind) {
    case 'begin':
      return { kind: 'begin', position: event.position, txId: event.txId, commitTs: event.commitTs };
    case 'row': {
      const { op, ordinal, beforeIsKey, keyChanged } = event;
      const [before, after] = [copyCells(event.before), copyCells(event.after)];
      return { kind: 'row', op, table: nameOf(event.table), ordinal, before, after, beforeIsKey, keyChanged };
    }
    case 'truncate':
      return { kind: 'truncate', tables: event.tables.map(nameOf), ordinal: event.ordinal };
    case 'stale':
      return { kind: 'stale', table: event.table.join('.'), reason: event.reason };
    case 'commit':
      return { kind: 'commit', resume: event.resume };
    default:
      return { ...event };
  }
};

/** Every column as text; the key is what the relation marks. */
export const asText = (relation: RelationMessage, key?: readonly number[]): Resolution<LogTable> => {
  const marked = relation.columns.flatMap((column, index) => (column.isKey ? [index] : []));
  const columns = relation.columns.map(({ name }, index) => ({
    id: index + 1,
    name,
    type: { type: 'string' as const },
    sourceType: 'text',
    optional: true,
  }));
  const table: LogTable = { schema: { name: [relation.schema, relation.name], columns, key: key ?? marked } };
  return { table, truncatable: true };
};

const resolveAsText: Resolve<LogTable> = (relation) => Promise.resolve(asText(relation));

export type LogPlace = { slot: string; publication: string; start: string };

/** A publication for all tables, then a slot, as the order must be. */
export const makeSlot = async (server: TestPostgres): Promise<LogPlace> => {
  const slot = `s${randomBytes(6).toString('hex')}`;
  await server.query(`CREATE PUBLICATION "${slot}" FOR ALL TABLES`);
  const rows = await server.query(
    `SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')`,
    [slot],
  );
  return { slot, publication: slot, start: String(rows[0]?.lsn) };
};

export type ReaderExtras = {
  timing?: Partial<LogTiming>;
  resolve?: Resolve<LogTable>;
  url?: string;
  more?: Partial<LogReaderOptions<LogTable>>;
};

export const openReader = (
  server: TestPostgres,
  place: LogPlace,
  { timing = {}, resolve = resolveAsText, url = server.url, more = {} }: ReaderExtras = {},
): LogReader<LogTable> => {
  const reader = makeLogReader({
    connection: parseConnection({ url }),
    applicationName: 'varve_test',
    slot: place.slot,
    publications: [place.publication],
    resolve,
    position: makeSourcePosition(),
    nowMicros: () => BigInt(Date.now()) * 1000n,
    timing: { ...DEFAULT_TIMING, ...timing },
    ...more,
  });
  open.push(reader);
  return reader;
};

const open: LogReader<LogTable>[] = [];

/** What a test that failed left open would keep its process alive. */
export const closeReaders = async (): Promise<void> => {
  for (const reader of open.splice(0)) await reader.close();
};

const walEnd = async (server: TestPostgres): Promise<string> =>
  String((await server.query('SELECT pg_current_wal_insert_lsn()::text AS lsn'))[0]?.lsn);

export const confirmedFlush = async (server: TestPostgres, slot: string): Promise<string> => {
  const rows = await server.query(
    'SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1',
    [slot],
  );
  return String(rows[0]?.lsn);
};

/**
 * Copies events until `isDone`, which sees each one; then leaves the loop, with the connection still open.
 */
export const collect = async (
  reader: LogReader<LogTable>,
  after: string,
  isDone: (event: Copy) => boolean,
): Promise<Copy[]> => {
  const events: Copy[] = [];
  for await (const chunk of reader.read(after, AbortSignal.timeout(60_000))) {
    for (let event = chunk.next(); event; event = chunk.next()) {
      const copy = copyEvent(event);
      events.push(copy);
      if (isDone(copy)) return events;
    }
  }
  throw new Error(`The log did not bring what was waited for; it brought ${events.length} events.`);
};

/** Everything up to where the server's log ends now, without Idle events. */
export const collectAll = async (
  reader: LogReader<LogTable>,
  server: TestPostgres,
  after: string,
): Promise<Exclude<Copy, { kind: 'idle' }>[]> => {
  // A record of its own, so that the end of the log is a position that a keepalive can reach.
  await server.query(`SELECT pg_logical_emit_message(true, 'end', '')`);
  const end = parseLsn(await walEnd(server));
  const events = await collect(
    reader,
    after,
    (event) => (event.kind === 'idle' || event.kind === 'commit') && parsePlace(event.resume).resume >= end,
  );
  return events.filter((event) => event.kind !== 'idle');
};

export const rowsOf = (events: readonly Copy[]): (Value[] | null)[] =>
  events.flatMap((event) => (event.kind === 'row' ? [event.after] : []));

export const idsOf = (events: readonly Copy[]): number[] => rowsOf(events).map((row) => Number(row?.[0]));

/** The position of a resume point, as the server prints it. */
export const lsnOf = (resume: string): string => formatLsn(parsePlace(resume).resume);
