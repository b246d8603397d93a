// Owns saying to other processes of this pipeline that one is at work: by a transaction that does nothing,
// from before it looks who else is, until its reader of the log can be seen. Two that start together see each
// other, and neither disturbs the other. Knows no slot's state but who reads it.
import type pg from 'pg';
import { VarveError } from '../../src/errors.ts';
import { closeClient } from './connection.ts';
import { holderText, readSlot, slotBusy } from './slot.ts';

// A session that waits idle is a leftover or a question; one in a transaction has claimed, or reads tables.
const AT_WORK_SQL = `
  SELECT pid, application_name AS name, coalesce(host(client_addr), 'local') AS address
    FROM pg_stat_activity
   WHERE application_name = $1 AND datname = current_database() AND xact_start IS NOT NULL
     AND pid <> pg_backend_pid() AND pid <> $2 LIMIT 1`;

type Clients = {
  settings: { slot: string; applicationName: string };
  /** A connection of the caller's own. */
  open: (kind: { replication: boolean }) => Promise<pg.Client>;
  /** Asks on the shared connection. */
  ask: <Result>(doing: string, question: (side: pg.Client) => Promise<Result>) => Promise<Result>;
};

export class SourceClaim {
  readonly #clients: Clients;
  #guard: pg.Client | null = null;

  constructor(clients: Clients) {
    this.#clients = clients;
  }

  /** Throws `log_busy`, with nothing claimed, while another process of this pipeline is at work. */
  async take(): Promise<void> {
    await this.release();
    const guard = await this.#clients.open({ replication: false });
    this.#guard = guard;
    try {
      // The transaction holds no snapshot, so it keeps no row from being cleaned up.
      const { pid } = (await guard.query('SELECT pg_backend_pid() AS pid')).rows[0];
      await guard.query('SET idle_in_transaction_session_timeout = 0');
      await guard.query('BEGIN');
      await this.#look(pid);
    } catch (thrown) {
      await this.release();
      throw thrown;
    }
  }

  /** Whoever looks sees the log being read by now, or nobody at work. */
  async release(): Promise<void> {
    const guard = this.#guard;
    this.#guard = null;
    if (guard !== null) await closeClient(guard);
  }

  #look(guardPid: number): Promise<void> {
    const { slot: slotName, applicationName: own } = this.#clients.settings;
    return this.#clients.ask('looking who else reads', async (side) => {
      const slot = await readSlot(side, slotName);
      if (slot?.holder) throw slotBusy(slot);
      const [other] = (await side.query(AT_WORK_SQL, [own, guardPid])).rows;
      if (other === undefined) return;
      const { pid, name: applicationName, address } = other;
      throw new VarveError(
        'log_busy',
        `Another process of this pipeline is at work: ${holderText({ pid, applicationName, address })}. ` +
          `This one waits. If that one is a leftover, end it with SELECT pg_terminate_backend(${pid}).`,
        { facts: { pid } },
      );
    });
  }
}
