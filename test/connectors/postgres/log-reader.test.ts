// What the log reader makes of real transactions: order, ordinals, images, keys, truncates, messages.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { VarveError } from '../../../src/errors.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import {
  asText,
  type Copy,
  closeReaders,
  collectAll,
  makeSlot,
  openReader,
  type ReaderExtras,
  rowsOf,
} from './log-reader-harness.ts';

afterEach(closeReaders);

let server: TestPostgres;
before(async () => {
  server = await startPostgres({ settings: { max_connections: '260' } });
});
after(() => server[Symbol.asyncDispose]());

/**
 * Runs the statements, each a transaction of its own unless it says otherwise, and gives what the log says
 * of them.
 */
const read = async (
  setup: string,
  changes: readonly string[],
  extras: ReaderExtras = {},
): Promise<Copy[]> => {
  await server.query(setup);
  const place = await makeSlot(server);
  for (const change of changes) await server.query(change);
  const reader = openReader(server, place, extras);
  try {
    return await collectAll(reader, server, place.start);
  } finally {
    await reader.close();
    await server.query('SELECT pg_drop_replication_slot($1)', [place.slot]);
    await server.query(`DROP PUBLICATION "${place.publication}"`);
  }
};

const rows = (events: readonly Copy[]) => events.filter((event) => event.kind === 'row');

describe('rows', () => {
  test('insert, update and delete carry their images', async () => {
    const events = await read('CREATE TABLE a1 (id int PRIMARY KEY, v text)', [
      `INSERT INTO a1 VALUES (1, 'é'), (2, NULL)`,
      `UPDATE a1 SET v = '' WHERE id = 2`,
      'DELETE FROM a1 WHERE id = 1',
    ]);
    const row = { kind: 'row', table: 'public.a1', beforeIsKey: false, keyChanged: false, before: null };
    assert.deepEqual(rows(events), [
      { ...row, op: 'c', ordinal: 0, after: ['1', 'é'] },
      { ...row, op: 'c', ordinal: 1, after: ['2', null] },
      { ...row, op: 'u', ordinal: 0, after: ['2', ''] },
      { ...row, op: 'd', ordinal: 0, before: ['1', null], beforeIsKey: true, after: null },
    ]);
  });

  test('a transaction says its commit time, its id and a position that rises', async () => {
    const startMicros = BigInt(Date.now()) * 1000n - 1_000_000n;
    const events = await read('CREATE TABLE a2 (id int PRIMARY KEY)', [
      'INSERT INTO a2 VALUES (1)',
      'INSERT INTO a2 VALUES (2)',
    ]);
    const begins = events.flatMap((event) => (event.kind === 'begin' ? [event] : []));
    const ids = (await server.query('SELECT xmin::text FROM a2 ORDER BY id')).map((row) => row.xmin);
    assert.deepEqual(
      begins.slice(0, 2).map((begin) => begin.txId),
      ids,
    );
    assert.ok(begins.every((begin, n) => n === 0 || begin.position > (begins[n - 1]?.position ?? 0n)));
    for (const { commitTs } of begins) {
      assert.ok(commitTs > startMicros && commitTs < BigInt(Date.now()) * 1000n + 1_000_000n);
    }
  });

  test('an update of the key says so and brings the old key', async () => {
    const events = await read('CREATE TABLE a3 (a int, b text, v text, PRIMARY KEY (b, a))', [
      `INSERT INTO a3 VALUES (1, 'x', 'v')`,
      `UPDATE a3 SET b = 'y'`,
      `UPDATE a3 SET v = 'w'`,
    ]);
    assert.partialDeepStrictEqual(rows(events).slice(1), [
      { op: 'u', keyChanged: true, beforeIsKey: true, before: ['1', 'x', null], after: ['1', 'y', 'v'] },
      { op: 'u', keyChanged: false, before: null, after: ['1', 'y', 'w'] },
    ]);
  });

  test('replica identity FULL brings the whole old row, and fills in what was not sent again', async () => {
    const big = 'x'.repeat(20_000);
    const setup = `CREATE TABLE a4 (id int PRIMARY KEY, big text, v int);
      ALTER TABLE a4 ALTER big SET STORAGE EXTERNAL; ALTER TABLE a4 REPLICA IDENTITY FULL`;
    const events = await read(
      setup,
      [
        `INSERT INTO a4 VALUES (1, '${big}', 1)`,
        'UPDATE a4 SET v = 2',
        'UPDATE a4 SET id = 9',
        'DELETE FROM a4',
      ],
      { resolve: (relation) => Promise.resolve(asText(relation, [0])) },
    );
    assert.partialDeepStrictEqual(rows(events).slice(1), [
      { op: 'u', keyChanged: false, beforeIsKey: false, before: ['1', big, '1'], after: ['1', big, '2'] },
      { op: 'u', keyChanged: true, beforeIsKey: false, before: ['1', big, '2'], after: ['9', big, '2'] },
      { op: 'd', before: ['9', big, '2'], after: null },
    ]);
  });

  test('a large value that did not change is "not sent", never null', async () => {
    const setup =
      'CREATE TABLE a5 (id int PRIMARY KEY, big text, v int); ALTER TABLE a5 ALTER big SET STORAGE EXTERNAL';
    const big = 'y'.repeat(20_000);
    const events = await read(setup, [
      `INSERT INTO a5 VALUES (1, '${big}', NULL)`,
      'UPDATE a5 SET v = 1',
      'UPDATE a5 SET id = 2',
    ]);
    assert.deepEqual(rowsOf(events), [
      ['1', big, null],
      ['1', undefined, '1'],
      ['2', undefined, '1'],
    ]);
  });

  test('a large key that did not change is compared by its value', async () => {
    const setup =
      'CREATE TABLE a6 (id text PRIMARY KEY, v int); ALTER TABLE a6 ALTER id SET STORAGE EXTERNAL';
    const key = 'k'.repeat(2_500);
    const events = await read(setup, [
      `INSERT INTO a6 VALUES ('${key}', 1)`,
      'UPDATE a6 SET v = 2',
      'DELETE FROM a6',
    ]);
    assert.partialDeepStrictEqual(rows(events).slice(1), [
      { op: 'u', keyChanged: false, after: [key, '2'] },
      { op: 'd', before: [key, null], beforeIsKey: true },
    ]);
  });

  test('an index as replica identity that lacks the key stops with the SQL that mends it', async () => {
    const setup = `CREATE TABLE a7 (id int PRIMARY KEY, u int NOT NULL UNIQUE);
      ALTER TABLE a7 REPLICA IDENTITY USING INDEX a7_u_key`;
    const byPrimaryKey: ReaderExtras = { resolve: (relation) => Promise.resolve(asText(relation, [0])) };
    const inserted = await read(setup, ['INSERT INTO a7 VALUES (1, 2)'], byPrimaryKey);
    assert.deepEqual(rowsOf(inserted), [['1', '2']]);
    await assert.rejects(read('SELECT 1', ['DELETE FROM a7'], byPrimaryKey), (error: VarveError) => {
      assert.equal(error.kind, 'table_stale');
      assert.match(error.message, /public\.a7.*ALTER TABLE "public"\."a7" REPLICA IDENTITY DEFAULT;/);
      return true;
    });
    const byIndex = await read('SELECT 1', ['INSERT INTO a7 VALUES (1, 5)', 'UPDATE a7 SET u = 6'], {});
    assert.partialDeepStrictEqual(rows(byIndex)[1], {
      before: [null, '5'],
      after: ['1', '6'],
      keyChanged: true,
    });
  });
});

describe('transactions', () => {
  test('what a savepoint took back never shows', async () => {
    const events = await read('CREATE TABLE b1 (id int PRIMARY KEY)', [
      `BEGIN; INSERT INTO b1 VALUES (1); SAVEPOINT s; INSERT INTO b1 VALUES (2); ROLLBACK TO s;
       INSERT INTO b1 VALUES (3); COMMIT`,
      'BEGIN; INSERT INTO b1 VALUES (4); ROLLBACK',
    ]);
    assert.deepEqual(rowsOf(events), [['1'], ['3']]);
  });

  test('200 interleaved transactions come in commit order, each whole', async () => {
    await server.query('CREATE TABLE b2 (tx int, n int, PRIMARY KEY (tx, n))');
    const place = await makeSlot(server);
    const sessions = await Promise.all(Array.from({ length: 200 }, () => server.connect()));
    await Promise.all(sessions.map((session) => session.query('BEGIN')));
    for (let n = 0; n < 3; n++) {
      await Promise.all(sessions.map((session, tx) => session.query(`INSERT INTO b2 VALUES (${tx}, ${n})`)));
    }
    const order = sessions.map((_, index) => (index * 37) % sessions.length);
    for (const tx of order) await sessions[tx]?.query('COMMIT');
    await Promise.all(sessions.map((session) => session.end()));
    const reader = openReader(server, place);
    const events = await collectAll(reader, server, place.start);
    await reader.close();
    const expected = order.flatMap((tx) => [0, 1, 2].map((n) => [String(tx), String(n)]));
    assert.deepEqual(rowsOf(events), expected);
    const kinds = events.map((event) => event.kind[0]).join('');
    assert.match(kinds, /^(brrrc){200}(bc)*$/);
  });

  test('ordinals count rows of tables that are not captured, truncates, and no messages', async () => {
    const setup = 'CREATE TABLE b3 (id int PRIMARY KEY); CREATE TABLE b3_other (id int PRIMARY KEY)';
    const changes = [
      `BEGIN; INSERT INTO b3 VALUES (1); INSERT INTO b3_other VALUES (1), (2); TRUNCATE b3_other;
       SELECT pg_logical_emit_message(true, 'p', 'content'); SELECT pg_logical_emit_message(false, 'q', '');
       INSERT INTO b3 VALUES (2); TRUNCATE b3; COMMIT`,
    ];
    const captured: ReaderExtras['resolve'] = (relation) =>
      Promise.resolve(relation.name === 'b3' ? asText(relation) : { table: null, truncatable: false });
    const events = await read(setup, changes, { resolve: captured });
    const ordinals = events.flatMap((event) => ('ordinal' in event ? [[event.kind, event.ordinal]] : []));
    assert.deepEqual(ordinals, [
      ['row', 0],
      ['row', 4],
      ['truncate', 5],
    ]);
  });

  test('one truncate of several tables is one event', async () => {
    const setup = 'CREATE TABLE b4 (id int PRIMARY KEY); CREATE TABLE b5 (id int REFERENCES b4)';
    const events = await read(setup, ['INSERT INTO b4 VALUES (1)', 'TRUNCATE b4 CASCADE']);
    const truncates = events.filter((event) => event.kind === 'truncate');
    assert.deepEqual(truncates, [{ kind: 'truncate', tables: ['public.b4', 'public.b5'], ordinal: 0 }]);
  });

  test('an emptied partition makes its root stale and never empties it', async () => {
    const setup = `CREATE TABLE b6 (id int, d int, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
      CREATE TABLE b6_1 PARTITION OF b6 FOR VALUES IN (1);
      CREATE TABLE b6_2 (d int NOT NULL, id int NOT NULL);
      ALTER TABLE b6 ATTACH PARTITION b6_2 FOR VALUES IN (2)`;
    const root = asText({
      kind: 'relation',
      oid: 0,
      schema: 'public',
      name: 'b6',
      replicaIdentity: 'd',
      columns: ['id', 'd'].map((name) => ({ isKey: true, name, typeOid: 25, typmod: -1 })),
    });
    const events = await read(setup, ['INSERT INTO b6 VALUES (7, 1), (8, 2)', 'TRUNCATE b6_1, b6_2'], {
      resolve: () => Promise.resolve({ table: root.table, truncatable: false }),
    });
    assert.deepEqual(rowsOf(events), [
      ['7', '1'],
      ['8', '2'],
    ]);
    assert.equal(events.filter((event) => event.kind === 'truncate').length, 0);
    const stale = events.filter((event) => event.kind === 'stale');
    assert.deepEqual(new Set(stale.map((event) => event.table)), new Set(['public.b6']));
  });

  test('a changed table is resolved anew before its next row', async () => {
    const seen: string[] = [];
    const events = await read(
      'CREATE TABLE b7 (id int PRIMARY KEY)',
      [
        'INSERT INTO b7 VALUES (1)',
        `BEGIN; INSERT INTO b7 VALUES (2); ALTER TABLE b7 ADD v text DEFAULT 'd'; INSERT INTO b7 VALUES ` +
          `(3, 'x'); COMMIT`,
      ],
      {
        resolve: async (relation) => {
          seen.push(relation.columns.map((column) => column.name).join());
          await new Promise((resolve) => setTimeout(resolve, 20));
          return asText(relation);
        },
      },
    );
    assert.deepEqual(rowsOf(events), [['1'], ['2'], ['3', 'x']]);
    assert.deepEqual([...new Set(seen)], ['id', 'id,v']);
  });

  test('a type that is not built in is named before the relation', async () => {
    const types: (string | undefined)[] = [];
    await read(
      `CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE b8 (id int PRIMARY KEY, m mood)`,
      [`INSERT INTO b8 VALUES (1, 'ok')`],
      {
        resolve: (relation, known) => {
          const type = known.get(relation.columns[1]?.typeOid ?? 0);
          types.push(`${type?.schema}.${type?.name}`);
          return Promise.resolve(asText(relation));
        },
      },
    );
    assert.deepEqual(types, ['public.mood']);
  });

  test('a resolver that finds rows changed without events makes the table stale', async () => {
    const events = await read('CREATE TABLE b9 (id int PRIMARY KEY)', ['INSERT INTO b9 VALUES (1)'], {
      resolve: (relation) => Promise.resolve({ ...asText(relation), stale: 'rewritten' }),
    });
    const [stale, row] = events.filter((event) => event.kind === 'stale' || event.kind === 'row');
    assert.deepEqual(stale, { kind: 'stale', table: 'public.b9', reason: 'rewritten' });
    assert.equal(row?.kind, 'row');
  });
});

for (const major of [15, 18] as const) {
  test(`PostgreSQL ${major} streams the same events`, async () => {
    await using other = await startPostgres({ major });
    await other.query('CREATE TABLE t (id int PRIMARY KEY, v text)');
    const place = await makeSlot(other);
    await other.query(`INSERT INTO t VALUES (1, 'a')`);
    await other.query(`UPDATE t SET id = 2`);
    await other.query('TRUNCATE t');
    const reader = openReader(other, place);
    const events = await collectAll(reader, other, place.start);
    await reader.close();
    const changes = events.flatMap((event) =>
      event.kind === 'row' ? [event.op] : event.kind === 'truncate' ? ['t'] : [],
    );
    assert.deepEqual(changes, ['c', 'u', 't']);
  });
}
