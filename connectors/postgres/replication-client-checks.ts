// Owns the questions asked on a replication connection before the stream starts, so that what is missing is
// named with the SQL that mends it. Once the stream runs the server says the same of a missing slot and a
// missing publication.
import pg from 'pg';
import { VarveError } from '../../src/errors.ts';

type SlotRow = {
  slot_type: string;
  plugin: string | null;
  database: string | null;
  active_pid: number | null;
  wal_status?: string;
  invalidation_reason?: string | null;
};

type Wanted = { slot: string; publications: readonly string[] };

const checkSlot = (slot: string, row: SlotRow | undefined, database: string): void => {
  const name = JSON.stringify(slot);
  if (row === undefined) throw slotMissing(slot);
  if (row.plugin !== 'pgoutput' || row.database !== database) {
    throw new VarveError(
      'source_changed',
      `The replication slot ${name} belongs to the plugin ${row.plugin} and the database ${row.database}; ` +
        `expected were pgoutput and ${database}. Choose another slot name.`,
      { facts: { slot, plugin: row.plugin, database: row.database } },
    );
  }
  if (row.wal_status === 'lost' || row.invalidation_reason)
    throw slotLost(slot, row.invalidation_reason ?? null);
  if (row.active_pid !== null) throw slotBusy(slot, row.active_pid);
};

export const slotMissing = (slot: string): VarveError =>
  new VarveError(
    'log_missing',
    `The replication slot ${JSON.stringify(slot)} does not exist any more. What was changed since then ` +
      'cannot be read; start again with a snapshot.',
    { facts: { slot } },
  );

export const slotLost = (slot: string, reason: string | null): VarveError =>
  new VarveError(
    'log_lost',
    `The server has invalidated the replication slot ${JSON.stringify(slot)} ` +
      `(${reason ?? 'its WAL was removed'}). ` +
      'What was changed since its last confirmed position cannot be read; drop the slot and start with a ' +
      'snapshot.',
    { facts: { slot, reason } },
  );

export const slotBusy = (slot: string, pid: number | null): VarveError =>
  new VarveError(
    'log_busy',
    `The replication slot ${JSON.stringify(slot)} is in use by ` +
      `${pid === null ? 'another client' : `the server process ${pid}`}. ` +
      'Varve tries again; after a crash of its own the server needs up to wal_sender_timeout to notice. ' +
      `To see who it is: SELECT * FROM pg_stat_activity WHERE pid = ${pid ?? '...'};`,
    { facts: { slot, pid } },
  );

export const publicationMissing = (publications: readonly string[]): VarveError =>
  new VarveError(
    'source_not_ready',
    `The publication ${publications.map((name) => JSON.stringify(name)).join(', ')} does not exist. ` +
      `Create it: CREATE PUBLICATION ${pg.escapeIdentifier(publications[0] ?? '')} FOR TABLE ...; ` +
      'If the slot is older than the publication, the slot must be made anew after it.',
    { facts: { publications: publications.join(',') } },
  );

/** Gives the server's version. Throws what is missing, lost or busy, as its own kind. */
export const checkStart = async (client: pg.Client, { slot, publications }: Wanted): Promise<number> => {
  // Replication connections know the simple protocol only, so names are quoted into the text.
  const { rows } = await client.query<{ version: number; database: string; slot: SlotRow | null }>(
    `SELECT current_setting('server_version_num')::int AS version, current_database()::text AS database,
            (SELECT to_json(s) FROM pg_replication_slots s
              WHERE slot_name = ${pg.escapeLiteral(slot)}) AS slot`,
  );
  const answer = rows[0];
  if (answer === undefined) throw new VarveError('internal', 'The server answered a question with no row.');
  checkSlot(slot, answer.slot ?? undefined, answer.database);
  const names = publications.map((name) => pg.escapeLiteral(name)).join(', ');
  const found = await client.query<{ pubname: string }>(
    `SELECT pubname::text FROM pg_publication WHERE pubname IN (${names})`,
  );
  const known = new Set(found.rows.map((row) => row.pubname));
  const missing = publications.filter((name) => !known.has(name));
  if (missing.length > 0) throw publicationMissing(missing);
  return answer.version;
};
