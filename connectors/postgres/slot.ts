// Owns the replication slot: making it with an exported snapshot, reading its state, dropping it. Knows
// nothing of checkpoints; what a state means for a resume is source-resume.ts's.
import pg from 'pg';
import { type ErrorKind, VarveError } from '../../src/errors.ts';
import { parseLsn } from './lsn.ts';

/** Null is what the server does not say, or does not know yet. */
export type SlotState = {
  name: string;
  plugin: string | null;
  database: string | null;
  /** Who reads it now, for people; null when nobody does. */
  holder: { pid: number; applicationName: string; address: string } | null;
  restart: bigint | null;
  confirmedFlush: bigint | null;
  /** reserved, extended, unreserved, lost. */
  walStatus: string | null;
  /** Servers from 17 on say why a slot was given up. */
  invalidationReason: string | null;
  /** Bytes of log that may still be written before the slot is in danger; null: no limit is set. */
  safeWalSize: bigint | null;
};

export type NewSlot = {
  /** The snapshot holds exactly the transactions that committed before this position. */
  consistentPoint: bigint;
  /** Dies with the next command on the connection that made it. */
  snapshotName: string;
};

// Columns that came with later versions are read through JSON, so that one statement fits all of them.
const STATE_SQL = `
  SELECT s.slot_name AS name, s.plugin, s.database, s.active_pid AS pid, s.wal_status,
         s.restart_lsn::text AS restart, s.confirmed_flush_lsn::text AS confirmed_flush,
         s.safe_wal_size::text AS safe_wal_size, to_jsonb(s)->>'invalidation_reason' AS invalidation_reason,
         coalesce(a.application_name, '') AS application_name,
         coalesce(host(a.client_addr), 'local') AS address
    FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
   WHERE s.slot_name = $1`;

export const readSlot = async (client: pg.ClientBase, name: string): Promise<SlotState | null> => {
  const row: Record<string, string | null> | undefined = (await client.query(STATE_SQL, [name])).rows[0];
  if (row === undefined) return null;
  const lsn = (text: string | null | undefined): bigint | null => (text ? parseLsn(text) : null);
  return {
    name,
    plugin: row.plugin ?? null,
    database: row.database ?? null,
    holder: row.pid
      ? {
          pid: Number(row.pid),
          applicationName: row.application_name ?? '',
          address: row.address ?? '',
        }
      : null,
    restart: lsn(row.restart),
    confirmedFlush: lsn(row.confirmed_flush),
    walStatus: row.wal_status ?? null,
    invalidationReason: row.invalidation_reason ?? null,
    safeWalSize: row.safe_wal_size ? BigInt(row.safe_wal_size) : null,
  };
};

export const holderText = ({ pid, applicationName, address }: NonNullable<SlotState['holder']>): string =>
  `process ${pid} (${applicationName || 'no application name'}, from ${address})`;

type SlotRequest = {
  name: string;
  /** Gone with its connection. */
  temporary: boolean;
  /** How long to wait for each transaction that is running now. */
  lockTimeoutMs: number;
};

/**
 * Makes a slot on a replication connection. The server waits for every transaction that is running at that
 * time. Throws `source_not_ready` with those transactions' names when they take too long; nothing is left
 * behind then.
 * @param side an ordinary connection to the same database, for finding out who is in the way
 */
export const createSlot = async (
  replication: pg.ClientBase,
  side: pg.ClientBase,
  { name, temporary, lockTimeoutMs }: SlotRequest,
): Promise<NewSlot> => {
  const kind = temporary ? ' TEMPORARY' : '';
  try {
    await replication.query(`SET lock_timeout = ${lockTimeoutMs}`);
    const { rows } = await replication.query(
      `CREATE_REPLICATION_SLOT ${pg.escapeIdentifier(name)}${kind} LOGICAL pgoutput (SNAPSHOT 'export')`,
    );
    const made: { consistent_point: string; snapshot_name: string } = rows[0];
    return { consistentPoint: parseLsn(made.consistent_point), snapshotName: made.snapshot_name };
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    // lock_not_available or query_canceled: the wait for running transactions was cut short.
    if (code === '55P03' || code === '57014') throw await slotHeldUp(side, name, cause);
    const refusal = REFUSALS[code ?? ''];
    if (refusal === undefined) throw cause;
    const [kind, advice] = refusal;
    const sentence = `The slot ${name} could not be made: ${message}. ${advice}`;
    throw new VarveError(kind, sentence, { facts: { slot: name }, cause });
  }
};

const REFUSALS: Readonly<Record<string, readonly [ErrorKind, string]>> = {
  '42710': [
    'state_lost',
    'It is not of this start: run varve reset FILE, or set source.slot to a free name.',
  ],
  '53400': [
    'source_not_ready',
    'Raise max_replication_slots, or drop an abandoned slot; varve check FILE tells.',
  ],
  '55000': ['source_not_ready', 'Set wal_level to logical and restart the server; varve check FILE tells.'],
};

const RUNNING_SQL = `
  SELECT 'process ' || pid || ' (' || coalesce(nullif(application_name, ''), 'no application name') || ',
    user '
         || coalesce(usename, '?') || ', ' || coalesce(state, 'state hidden') || ' for '
         || coalesce(round(extract(epoch FROM now() - xact_start))::text, '?') || ' s)' AS who
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
  UNION ALL
  SELECT 'prepared transaction ' || quote_literal(gid) || ' of ' || owner FROM pg_prepared_xacts`;

const slotHeldUp = async (side: pg.ClientBase, name: string, cause: unknown): Promise<VarveError> => {
  const running = (await side.query(RUNNING_SQL)).rows.map(({ who }: { who: string }) => who);
  const who = running.length === 0 ? 'they have ended meanwhile' : running.slice(0, 5).join('; ');
  return new VarveError(
    'source_not_ready',
    `The slot ${name} could not be made: PostgreSQL waits for every running transaction to end first, and ` +
      `these did not: ` +
      `${who}. End them (SELECT pg_terminate_backend(PID), or ROLLBACK PREPARED), or start again when ` +
      `they are done.`,
    { facts: { slot: name, running: running.length }, cause },
  );
};

/** Drops the slot if it is there. Throws `log_busy` when somebody reads it, and says who. */
export const dropSlot = async (client: pg.ClientBase, name: string): Promise<void> => {
  const state = await readSlot(client, name);
  if (state === null) return;
  try {
    await client.query('SELECT pg_drop_replication_slot($1)', [name]);
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    if (code === '42704') return;
    if (code !== '55006') throw cause;
    throw slotBusy((await readSlot(client, name)) ?? state, cause);
  }
};

export const slotBusy = (state: SlotState, cause?: unknown): VarveError =>
  new VarveError(
    'log_busy',
    `The slot ${state.name} is being read by ${state.holder ? holderText(state.holder) : 'somebody else'}. ` +
      'Only one may read it: this one waits. If that process is a leftover, end it with ' +
      `SELECT pg_terminate_backend(${state.holder?.pid ?? 'PID'}).`,
    { facts: { slot: state.name, pid: state.holder?.pid ?? null }, cause },
  );
