// The test server itself: what every flow test relies on.
import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { test } from 'node:test';
import { startPostgres } from './postgres.ts';

for (const major of [15, 17, 18] as const) {
  test(`PostgreSQL ${major} starts, decodes, crashes, recovers and leaves nothing`, async () => {
    const server = await startPostgres({ major, settings: { wal_sender_timeout: '7s' } });
    try {
      const [version] = await server.query('SHOW server_version');
      assert.match(String(version?.server_version), new RegExp(`^${major}\\.`));
      assert.deepEqual(await server.query('SHOW wal_sender_timeout'), [{ wal_sender_timeout: '7s' }]);
      await server.query('CREATE TABLE t (a int PRIMARY KEY)');
      await server.query("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
      await server.query('INSERT INTO t SELECT generate_series(1, $1::int)', [3]);
      const client = await server.connect();
      assert.equal((await client.query('SELECT * FROM t')).rowCount, 3);
      await server.stop('immediate');
      await assert.rejects(server.query('SELECT 1'));
      await server.start();
      assert.deepEqual(await server.query('SELECT count(*)::int AS n FROM t'), [{ n: 3 }]);
      await server.stop('fast');
      await server.start();
      assert.equal((await server.query('SELECT slot_name FROM pg_replication_slots')).length, 1);
    } finally {
      await server[Symbol.asyncDispose]();
    }
    await assert.rejects(access(server.dataDir));
  });
}

test('copies share a system identifier, a fresh initdb has its own', async () => {
  const identifier = async (freshInitdb: boolean): Promise<unknown> => {
    await using server = await startPostgres({ freshInitdb });
    return (await server.query('SELECT system_identifier FROM pg_control_system()'))[0]?.system_identifier;
  };
  const [first, second, fresh] = await Promise.all([identifier(false), identifier(false), identifier(true)]);
  assert.equal(first, second);
  assert.notEqual(first, fresh);
});
