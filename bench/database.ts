// Owns the benches' database: a PostgreSQL 17 of its own, the 10-column table, the loads in several
// transaction shapes, and slots that can be read again and again. Knows no bench.
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres, type TestPostgres } from '../test/support/postgres.ts';

/** Every pipeline of the benches has this name; slot and publication have the names that follow from it. */
export const PIPELINE = 'bench';
export const SLOT = `varve_${PIPELINE}`;
export const PUBLICATION = `varve_${PIPELINE}`;
export const TABLE = 'orders';
export const TOPIC = `${PIPELINE}.public.${TABLE}`;
const KEPT_SLOT = 'bench_kept';

/** Address in parts; `host` is a folder for the Unix socket. */
export type Address = { host: string; port: number; user: string; password: string; database: string };

/** Rows a transaction: one; 1000; all; 1000 changes with updates and deletes among them. */
export type Shape = 'single' | 'thousand' | 'one' | 'mixed';

const SETTINGS = {
  shared_buffers: '1GB',
  fsync: 'on',
  max_wal_size: '16GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
  // The server sends only flushed log; commits that do not wait for the flush would wait for this instead.
  wal_writer_delay: '1ms',
};

const columns = (id: string): string =>
  `${id}, (${id} % 100000)::int4, 'customer-' || ${id}, (${id} % 7)::int4, ${id} * 1.25::float8,
   ((${id} % 1000000) / 100.0)::numeric(12,2), ${id} % 2 = 0,
   '2026-01-01'::timestamptz + ${id} * interval '1 second',
   '2026-01-01'::timestamptz + ${id} * interval '1 millisecond',
   CASE WHEN ${id} % 10 > 0 THEN 'note-abcdefghijklmnopqrs-' || lpad((${id} % 10000)::text, 4, '0') END`;

const TABLE_SQL = `
CREATE TABLE ${TABLE} (
  id int8 PRIMARY KEY, quantity int4, customer text, kind int4, weight float8, price numeric(12,2), paid bool,
  ordered_at timestamptz, changed_at timestamptz, note text);
CREATE PROCEDURE insert_rows(total int8, per_transaction int8) LANGUAGE plpgsql AS $$ BEGIN
  FOR low IN 1 .. total BY per_transaction LOOP
    INSERT INTO ${TABLE}
      SELECT ${columns('g')} FROM generate_series(low, least(low + per_transaction - 1, total)) g;
    COMMIT;
  END LOOP;
END $$;
CREATE PROCEDURE insert_single_rows(total int8) LANGUAGE plpgsql AS $$ BEGIN
  FOR id IN 1 .. total LOOP
    INSERT INTO ${TABLE} SELECT ${columns('id')};
    COMMIT;
  END LOOP;
END $$;
CREATE PROCEDURE change_rows(total int8) LANGUAGE plpgsql AS $$ DECLARE low int8; BEGIN
  -- Each transaction: 700 new rows, 200 updates of rows two transactions old, 100 deletes of rows three old.
  FOR tx IN 0 .. total / 1000 - 1 LOOP
    low := tx * 700;
    INSERT INTO ${TABLE} SELECT ${columns('g')} FROM generate_series(low + 1, low + 700) g;
    UPDATE ${TABLE} SET quantity = quantity + 1, changed_at = changed_at + interval '1 day'
      WHERE id BETWEEN low - 1399 AND low - 1200;
    DELETE FROM ${TABLE} WHERE id BETWEEN low - 2099 AND low - 2000;
    COMMIT;
  END LOOP;
END $$;`;

const LOADS: Readonly<Record<Shape, string>> = {
  single: 'CALL insert_single_rows($rows)',
  thousand: 'CALL insert_rows($rows, 1000)',
  one: 'CALL insert_rows($rows, $rows)',
  mixed: 'CALL change_rows($rows)',
};

/** Rows from the first placeholder's id to the second's. */
export const INSERT_SQL = `INSERT INTO ${TABLE}
  SELECT ${columns('id')} FROM generate_series($1::int8, $2::int8) id`;

export class BenchDatabase implements AsyncDisposable {
  readonly #server: TestPostgres;

  private constructor(server: TestPostgres) {
    this.#server = server;
  }

  static async start(): Promise<BenchDatabase> {
    return new BenchDatabase(await startPostgres({ major: 17, settings: SETTINGS }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  address(way: 'socket' | 'tcp'): Address {
    const { hostname, username, password, pathname } = new URL(this.#server.url);
    return {
      host: way === 'tcp' ? hostname : this.#server.socketDir,
      port: this.#server.port,
      user: username,
      password: decodeURIComponent(password),
      database: pathname.slice(1),
    };
  }

  /** An empty table; no slot and no publication. */
  async reset(): Promise<void> {
    await this.dropLog();
    for (const name of ['insert_rows', 'insert_single_rows', 'change_rows']) {
      await this.#server.query(`DROP PROCEDURE IF EXISTS ${name}`);
    }
    await this.#server.query(`DROP TABLE IF EXISTS ${TABLE}`);
    await this.#server.query(TABLE_SQL);
  }

  /** Drops all that a pipeline or a bench made for reading the log. */
  async dropLog(): Promise<void> {
    const slots = await this.#server.query('SELECT slot_name FROM pg_replication_slots');
    for (const { slot_name } of slots) await this.dropSlot(String(slot_name));
    await this.#server.query(`DROP PUBLICATION IF EXISTS ${PUBLICATION}`);
  }

  /** Fills the table and gives the position behind its last commit. */
  async load(shape: Shape, rows: number): Promise<string> {
    const client = await this.#server.connect();
    try {
      await client.query('SET synchronous_commit = off');
      await client.query(LOADS[shape].replaceAll('$rows', String(rows)));
      const { rows: answer } = await client.query('SELECT pg_current_wal_insert_lsn()::text AS lsn');
      // Nothing of the load is left to be written while it is read.
      await client.query(`CHECKPOINT`);
      return String(answer[0]?.lsn);
    } finally {
      await client.end();
    }
  }

  /** Keeps the pipeline's slot as it is now: every repetition reads the same log from the same place. */
  async keepSlot(): Promise<void> {
    await this.#server.query('SELECT pg_copy_logical_replication_slot($1, $2)', [SLOT, KEPT_SLOT]);
  }

  /** A slot that stands where the kept one does; one of that name before it goes. */
  async remakeSlot(name: string = SLOT): Promise<void> {
    await this.dropSlot(name);
    await this.#server.query('SELECT pg_copy_logical_replication_slot($1, $2)', [KEPT_SLOT, name]);
  }

  /** A slot that begins now. */
  async makeSlot(name: string): Promise<void> {
    await this.#server.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
  }

  /** Resolves when somebody reads the slot. */
  async untilRead(name: string): Promise<void> {
    while (!(await this.#isActive(name))) await sleep(10);
  }

  async #isActive(name: string): Promise<boolean> {
    const sql = 'SELECT active FROM pg_replication_slots WHERE slot_name = $1';
    return (await this.#server.query(sql, [name]))[0]?.active === true;
  }

  /** Waits for its reader to be gone: a walsender ends a moment after its client. */
  async dropSlot(name: string): Promise<void> {
    while (await this.#isActive(name)) await sleep(10);
    const sql = 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1';
    await this.#server.query(sql, [name]);
  }

  /** Whether everything before `lsn` was confirmed by the slot's reader. */
  async isConfirmed(slot: string, lsn: string): Promise<boolean> {
    const sql =
      'SELECT confirmed_flush_lsn >= $2::pg_lsn AS done FROM pg_replication_slots WHERE slot_name = $1';
    return (await this.#server.query(sql, [slot, lsn]))[0]?.done === true;
  }
}
