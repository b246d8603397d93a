// The slot on real servers: made, refused, waited for, dropped, and every state of it that a resume may find.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createSlot, dropSlot, readSlot } from '../../../connectors/postgres/slot.ts';
import { verifySlot } from '../../../connectors/postgres/source-resume.ts';
import type { ErrorKind } from '../../../src/errors.ts';
import { VarveError } from '../../../src/errors.ts';
import { type PostgresMajor, startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { openOwn, withClients } from './source-connections.ts';

const WAIT = { temporary: false, lockTimeoutMs: 5000 };
const isKind =
  (kind: ErrorKind, ...parts: RegExp[]) =>
  (error: unknown): true => {
    assert.ok(error instanceof VarveError, String(error));
    assert.equal(error.kind, kind);
    for (const part of parts) assert.match(error.message, part);
    return true;
  };

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
  await server.query('CREATE TABLE t (id int PRIMARY KEY)');
});
after(() => server[Symbol.asyncDispose]());

for (const major of [15, 17, 18] as const satisfies PostgresMajor[]) {
  test(`PostgreSQL ${major}: a slot with a snapshot is made, read and dropped`, async () => {
    await using own = await startPostgres({ major });
    await withClients(own, async (side, replication) => {
      const made = await createSlot(replication, side, { name: 's', ...WAIT });
      await side.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await side.query(`SET TRANSACTION SNAPSHOT '${made.snapshotName}'`);
      await side.query('COMMIT');
      const state = await readSlot(side, 's');
      assert.equal(state?.confirmedFlush, made.consistentPoint);
      assert.deepEqual(
        [state?.plugin, state?.database, state?.holder, state?.walStatus, state?.invalidationReason],
        ['pgoutput', 'postgres', null, 'reserved', null],
      );
      await dropSlot(side, 's');
      await dropSlot(side, 's');
      assert.equal(await readSlot(side, 's'), null);
    });
  });
}

test('a transaction that holds the slot up is named, and nothing is left behind', async () => {
  const idle = await server.connect();
  await idle.query("SET application_name = 'nightly batch'; BEGIN; INSERT INTO t VALUES (1)");
  await withClients(server, async (side, replication) => {
    const making = createSlot(replication, side, { name: 'held', temporary: false, lockTimeoutMs: 200 });
    await assert.rejects(making, isKind('source_not_ready', /nightly batch/, /pg_terminate_backend/));
    assert.equal(await readSlot(side, 'held'), null);
    await idle.query('ROLLBACK');
    await createSlot(replication, side, { name: 'held', ...WAIT });
    await dropSlot(side, 'held');
  });
});

test('a temporary slot goes with its connection', async () => {
  const replication = await openOwn(server, { replication: true });
  await withClients(server, async (side) => {
    await createSlot(replication, side, { name: 'short', temporary: true, lockTimeoutMs: 5000 });
    assert.ok((await readSlot(side, 'short'))?.holder);
    await assert.rejects(dropSlot(side, 'short'), isKind('log_busy', /varve_test/));
    await replication.end();
    while (await readSlot(side, 'short')) await new Promise((resolve) => setTimeout(resolve, 10));
  });
});

const endOf = async (): Promise<bigint> => {
  const [row] = await server.query("SELECT pg_current_wal_lsn() - '0/0' AS at");
  return BigInt(String(row?.at));
};
const verify = async (name: string, at: bigint): Promise<void> =>
  withClients(server, async (side) =>
    verifySlot({
      slot: await readSlot(side, name),
      slotName: name,
      database: 'postgres',
      after: at,
      end: await endOf(),
    }),
  );
const makeSlot = async (name: string, plugin = 'pgoutput'): Promise<bigint> => {
  await server.query('SELECT pg_create_logical_replication_slot($1, $2)', [name, plugin]);
  return withClients(server, async (side) => (await readSlot(side, name))?.confirmedFlush ?? 0n);
};

test('a slot that stands at or before the checkpoint may be continued', async () => {
  const at = await makeSlot('fine');
  await verify('fine', at);
  await server.query('INSERT INTO t VALUES (2)');
  await verify('fine', await endOf());
  await dropByName('fine');
});

const dropByName = (name: string): Promise<unknown> =>
  server.query('SELECT pg_drop_replication_slot($1)', [name]);

test('a slot that is gone is missing, and the commands that repair it are named', async () => {
  await assert.rejects(
    verify('gone', 16n),
    isKind('log_missing', /0\/10/, /varve snapshot FILE --all/, /--accept-gap/),
  );
});

test('a slot of another plugin or database is not ours', async () => {
  const at = await makeSlot('foreign', 'test_decoding');
  await assert.rejects(verify('foreign', at), isKind('log_missing', /test_decoding/, /source\.slot/));
  await dropByName('foreign');
  await server.query('CREATE DATABASE other');
  await withClients(server, async (side, replication) => {
    await createSlot(replication, side, { name: 'elsewhere', ...WAIT });
    const slot = await readSlot(side, 'elsewhere');
    const facts = { slot, slotName: 'elsewhere', database: 'other', after: 1n, end: 2n };
    assert.throws(() => verifySlot(facts), isKind('log_missing', /database postgres/));
    await dropSlot(side, 'elsewhere');
  });
});

test('a slot that moved past the checkpoint is a gap of so many bytes', async () => {
  const at = await makeSlot('moved');
  await server.query('INSERT INTO t VALUES (3)');
  await server.query("SELECT pg_replication_slot_advance('moved', pg_current_wal_lsn())");
  await assert.rejects(verify('moved', at), isKind('history_gap', /moved/, /bytes of log/, /--accept-gap/));
  await dropByName('moved');
});

test('a log that ends before the checkpoint went back in time', async () => {
  await makeSlot('back');
  await assert.rejects(verify('back', (await endOf()) + (1n << 32n)), isKind('source_rewound', /restored/));
  await dropByName('back');
});

test('a slot that somebody reads is busy, and says who', async () => {
  const at = await makeSlot('busy');
  const other = await openOwn(server, { replication: true });
  await server.query('CREATE PUBLICATION p FOR TABLE t');
  void other
    .query("START_REPLICATION SLOT busy LOGICAL 0/0 (proto_version '1', publication_names 'p')")
    .catch(() => undefined);
  await withClients(server, async (side) => {
    while (!(await readSlot(side, 'busy'))?.holder) await new Promise((resolve) => setTimeout(resolve, 10));
    await assert.rejects(verify('busy', at), isKind('log_busy', /varve_test/, /process \d+/));
    await server.query(
      "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'busy'",
    );
    while ((await readSlot(side, 'busy'))?.holder) await new Promise((resolve) => setTimeout(resolve, 10));
    await dropSlot(side, 'busy');
  });
});

test('a slot that the server gave up is lost, with both positions', async () => {
  await using own = await startPostgres({
    settings: {
      max_slot_wal_keep_size: '1MB',
      min_wal_size: '32MB',
      max_wal_size: '32MB',
      wal_keep_size: '0',
    },
    freshInitdb: false,
  });
  await own.query("SELECT pg_create_logical_replication_slot('lost', 'pgoutput')");
  await withClients(own, async (side) => {
    const at = (await readSlot(side, 'lost'))?.confirmedFlush ?? 0n;
    for (let round = 0; (await readSlot(side, 'lost'))?.walStatus !== 'lost'; round++) {
      assert.ok(round < 40, 'the slot was never given up');
      await own.query("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))");
      await own.query('SELECT pg_switch_wal()');
      await own.query('CHECKPOINT');
    }
    const slot = await readSlot(side, 'lost');
    const facts = { slot, slotName: 'lost', database: 'postgres', after: at, end: 1n << 60n };
    assert.throws(
      () => verifySlot(facts),
      isKind('log_lost', /wal_removed/, /stood at [0-9A-F]+\//, /--all/),
    );
  });
});
