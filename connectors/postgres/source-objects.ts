// Owns what this pipeline has made in the source, and takes it away again: a slot and a publication, nothing
// else.
import type pg from 'pg';
import type { ResumePoint } from '../../src/change/event.ts';
import type { TableName } from '../../src/change/schema.ts';
import { formatLsn } from './lsn.ts';
import { dropPublication, ensurePublication } from './publication.ts';
import { createSlot, dropSlot, readSlot, slotBusy } from './slot.ts';
import type { SourceClients } from './source-clients.ts';

const LOCK_TIMEOUT_MS = 60_000;
const END_DEADLINE_MS = 5000;

export const preparePublication = (clients: SourceClients, tables: readonly TableName[]): Promise<void> =>
  clients.ask('preparing the publication', (side) =>
    ensurePublication(side, clients.settings.publication, tables),
  );

/** A publication alone is harmless, and may be somebody else's: the slot decides. */
export const hasSlot = (clients: SourceClients): Promise<boolean> =>
  clients.ask('looking for the slot', async (side) => (await readSlot(side, clients.settings.slot)) !== null);

export const makeSlot = (clients: SourceClients): Promise<ResumePoint> =>
  clients.ask('making the replication slot', (side) =>
    clients.withReplication('making the replication slot', async (replication) => {
      const request = { name: clients.settings.slot, temporary: false, lockTimeoutMs: LOCK_TIMEOUT_MS };
      return formatLsn((await createSlot(replication, side, request)).consistentPoint);
    }),
  );

/**
 * Drops our slot. A process that bears our name and still holds it is ended: whoever calls this holds the
 * pipeline's state lock, so it can only be a leftover. Throws `log_busy` for anybody else's.
 */
export const removeSlot = (clients: SourceClients): Promise<void> =>
  clients.ask('dropping the replication slot', async (side) => {
    const { slot: name, applicationName } = clients.settings;
    const slot = await readSlot(side, name);
    if (slot?.holder) {
      if (slot.holder.applicationName !== applicationName) throw slotBusy(slot);
      await side.query('SELECT pg_terminate_backend($1, $2)', [slot.holder.pid, END_DEADLINE_MS]);
    }
    await dropSlot(side, name);
  });

export const removePublication = (clients: SourceClients): Promise<void> =>
  clients.ask('dropping the publication', (side) => dropPublication(side, clients.settings.publication));

const END_TRIES = 20;
const END_SQL = `
  SELECT (CASE WHEN standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0')::text
    AS written,
         (CASE WHEN standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::text
           AS flushed
    FROM pg_is_in_recovery() AS standby`;

/**
 * Where the log ends. Commits that were reported to their users but not flushed yet (synchronous_commit off)
 * are waited for shortly; an end at a page's border is never flushed exactly, so the wait is bounded.
 */
export const readEnd = async (side: pg.ClientBase): Promise<bigint> => {
  let written: bigint | null = null;
  for (let tries = 1; ; tries++) {
    const { rows } = await side.query(END_SQL);
    const flushed = BigInt(rows[0].flushed);
    written ??= BigInt(rows[0].written);
    if (flushed >= written || tries === END_TRIES) return flushed;
    await side.query('SELECT pg_sleep(0.05)');
  }
};
