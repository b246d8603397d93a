// The snapshot on real servers: one state for all readers, no row missing, no row of a later or earlier time,
// nothing left behind.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connector } from '../../../connectors/postgres/connector.ts';
import { resolveOptions } from '../../../connectors/postgres/options.ts';
import {
  openSnapshot,
  type PostgresSnapshot,
  type SnapshotOptions,
} from '../../../connectors/postgres/snapshot-session.ts';
import { SourceClients } from '../../../connectors/postgres/source-clients.ts';
import type { TableName } from '../../../src/change/schema.ts';
import type { ErrorKind } from '../../../src/errors.ts';
import { VarveError } from '../../../src/errors.ts';
import { type PostgresMajor, startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { readSnapshot } from './source-reading.ts';

const clientsOf = (server: TestPostgres): SourceClients => {
  const options = connector.options.parse({ kind: 'postgres', url: server.url, tables: ['*.*'] });
  const context = { pipeline: 'test', log: () => undefined, now: () => 0n };
  return new SourceClients(resolveOptions(options, context), () => null);
};

/** Opens a snapshot, uses it, and leaves no slot. */
const withSnapshot = async <Result>(
  server: TestPostgres,
  parts: Partial<SnapshotOptions> & { tables: readonly TableName[] },
  use: (session: PostgresSnapshot) => Promise<Result>,
): Promise<Result> => {
  const clients = clientsOf(server);
  try {
    const names = { slot: 'snap', temporary: true, parallel: 3 };
    const shared = { open: clients.open, prepare: clients.prepareUnder, ...names };
    const session = await clients.ask('testing', (side) => openSnapshot({ side, ...shared, ...parts }));
    try {
      return await use(session);
    } finally {
      await session.close();
    }
  } finally {
    await clients.close();
  }
};
const t = (name: string): TableName => ['public', name];
const slots = async (server: TestPostgres): Promise<unknown[]> =>
  (await server.query('SELECT slot_name FROM pg_replication_slots')).map((row) => row.slot_name);
const isKind =
  (kind: ErrorKind, ...parts: RegExp[]) =>
  (error: unknown): true => {
    assert.ok(error instanceof VarveError, String(error));
    assert.equal(error.kind, kind, error.message);
    for (const part of parts) assert.match(error.message, part);
    return true;
  };

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

for (const major of [15, 17, 18] as const satisfies PostgresMajor[]) {
  test(`PostgreSQL ${major}: every row once, by parallel readers of one state`, async () => {
    await using own = await startPostgres({ major });
    await own.query(`CREATE TABLE a (id int PRIMARY KEY, v text,
        twice int GENERATED ALWAYS AS (id * 2) STORED);
      CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE empty (id int PRIMARY KEY);
      INSERT INTO a SELECT g, repeat('x', 200) || g FROM generate_series(1, 5000) g; DELETE FROM a WHERE id %
        3 = 0;
      INSERT INTO b SELECT g, 'b' FROM generate_series(1, 100) g; ANALYZE`);
    const tables = [t('a'), t('b'), t('empty')];
    const wanted = await own.query('SELECT id::text, v FROM a ORDER BY a.id');
    await withSnapshot(own, { tables, blocksPerChunk: 16 }, async (session) => {
      await own.query(
        "UPDATE a SET v = 'late'; DELETE FROM b; INSERT INTO a SELECT g FROM generate_series(9000, 20000) g",
      );
      await own.query('VACUUM a');
      const rows = await readSnapshot(session, 3);
      const a = rows.get('public.a')?.toSorted((x, y) => Number(x.id) - Number(y.id));
      assert.deepEqual(a, wanted);
      assert.equal(rows.get('public.b')?.length, 100);
      assert.deepEqual(rows.get('public.empty'), []);
      const estimate = session.chunks.reduce((sum, chunk) => sum + chunk.estimatedRows, 0);
      assert.ok(session.chunks.length > 8, `${session.chunks.length} chunks`);
      assert.ok(estimate > 3000 && estimate < 3800, `estimated ${estimate} rows`);
      await session.verify(tables);
    });
    assert.deepEqual(await slots(own), []);
  });
}

test('a partitioned table is read leaf by leaf, columns in the order of the root', async () => {
  await server.query(`CREATE TABLE parted (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (500);
    CREATE TABLE p2 (v text, gone int, id int NOT NULL); ALTER TABLE p2 DROP gone;
    ALTER TABLE parted ATTACH PARTITION p2 FOR VALUES FROM (500) TO (1000);
    CREATE TABLE p3 PARTITION OF parted FOR VALUES FROM (1000) TO (2000) PARTITION BY RANGE (id);
    CREATE TABLE p31 PARTITION OF p3 FOR VALUES FROM (1000) TO (1500);
    CREATE TABLE bare (id int PRIMARY KEY) PARTITION BY RANGE (id);
    INSERT INTO parted SELECT g, 'v' || g FROM generate_series(0, 1499) g`);
  await withSnapshot(server, { tables: [t('parted'), t('bare')] }, async (session) => {
    const rows = await readSnapshot(session);
    const ids = rows
      .get('public.parted')
      ?.map(({ id, v }) => `${id} ${v}`)
      .toSorted();
    assert.deepEqual(ids, Array.from({ length: 1500 }, (_, id) => `${id} v${id}`).toSorted());
    assert.deepEqual(rows.get('public.bare'), []);
  });
});

test('tables that inherit are read apart', async () => {
  await server.query(`CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (c int) INHERITS (parent);
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3)`);
  await withSnapshot(server, { tables: [t('parent'), t('child')] }, async (session) => {
    const rows = await readSnapshot(session);
    assert.deepEqual(rows.get('public.parent'), [{ id: '1' }]);
    assert.deepEqual(rows.get('public.child'), [{ id: '2', c: '3' }]);
  });
});

test('hostile names and values of any length come through', async () => {
  const hostile = [
    '"; DROP TABLE parted; --',
    'MiXeD cäse',
    "o'clock $1",
    'y'.repeat(63),
    'a"b.c',
    '日本\\n',
    '__proto__',
  ];
  const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;
  const big = 'é\t\n\\'.repeat(700_000);
  for (const name of hostile) {
    await server.query(
      `CREATE SCHEMA ${quote(name)}; CREATE TABLE ${quote(name)}.${quote(name)} (${quote(name)} int ` +
        `PRIMARY KEY, b text)`,
    );
    await server.query(`INSERT INTO ${quote(name)}.${quote(name)} VALUES (1, $1), (2, ''), (3, NULL)`, [big]);
  }
  await withSnapshot(server, { tables: hostile.map((name) => [name, name] as const) }, async (session) => {
    const rows = await readSnapshot(session);
    for (const name of hostile) {
      const found = rows.get(`${name}.${name}`)?.map(Object.values);
      assert.ok(found?.[0]?.[1] === big, name);
      assert.deepEqual(found.slice(1), [
        ['2', ''],
        ['3', null],
      ]);
    }
  });
});

/**
 * What opening a snapshot of `early` throws when `meanwhile` runs after the slot is there and before any lock
 * is.
 */
const openWith = async (meanwhile: () => Promise<unknown>): Promise<unknown> => {
  const clients = clientsOf(server);
  try {
    let opened = 0;
    const open: SnapshotOptions['open'] = async (kind) => {
      if (!kind.replication && opened++ === 0) await meanwhile();
      return clients.open(kind);
    };
    await clients.ask('testing', async (side) => {
      const names = { slot: 'early', temporary: false, parallel: 1 };
      const parts = { open, side, prepare: clients.prepareUnder, ...names };
      await (await openSnapshot({ ...parts, tables: [t('early')], lockTimeoutMs: 300 })).close();
    });
    return null;
  } catch (thrown) {
    return thrown;
  } finally {
    await clients.close();
  }
};

test('a table rewritten between slot and first read is noticed, and the slot goes again', async () => {
  for (const ddl of [
    'ALTER TABLE early ALTER v TYPE bigint',
    'TRUNCATE early',
    'VACUUM FULL early',
    'DROP TABLE early',
    'ALTER TABLE early RENAME TO later',
  ]) {
    await server.query(
      'DROP TABLE IF EXISTS early, later; CREATE TABLE early (id int PRIMARY KEY, v int); INSERT INTO ' +
        'early VALUES (1, 1)',
    );
    assert.ok(
      isKind('source_busy', /public\.early/, /fixes another one/)(await openWith(() => server.query(ddl))),
      ddl,
    );
    assert.deepEqual(await slots(server), [], ddl);
  }
  await server.query('DROP TABLE IF EXISTS later; CREATE TABLE early (id int PRIMARY KEY, v int)');
  assert.equal(await openWith(() => server.query('INSERT INTO early VALUES (1, 1)')), null);
  assert.deepEqual(await slots(server), ['early']);
  await server.query("SELECT pg_drop_replication_slot('early')");
});

test('a lock that is in the way is named, and nothing is left behind', async () => {
  const other = await server.connect();
  await other.query("SET application_name = 'migration'");
  const refusal = await openWith(() => other.query('BEGIN; LOCK TABLE early IN ACCESS EXCLUSIVE MODE'));
  assert.ok(isKind('source_busy', /early by process \d+ \(migration\)/)(refusal));
  await other.query('ROLLBACK');
  assert.deepEqual(await slots(server), []);
});

test('nobody can rewrite a table while it is being read', async () => {
  await server.query('CREATE TABLE guarded (id int PRIMARY KEY, v int); INSERT INTO guarded VALUES (1, 1)');
  await withSnapshot(server, { tables: [t('guarded')] }, async (session) => {
    const other = await server.connect();
    await other.query("SET lock_timeout = '100ms'");
    await assert.rejects(other.query('ALTER TABLE guarded ALTER v TYPE bigint'), /lock timeout/);
    await session.verify([t('guarded')]);
  });
});

test('row security stops rather than hides rows', async () => {
  await server.query(`CREATE TABLE secret (id int PRIMARY KEY); INSERT INTO secret VALUES (1), (2);
    ALTER TABLE secret ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON secret USING (id % 2 = 1);
    CREATE ROLE reader LOGIN REPLICATION PASSWORD 'reader'; GRANT SELECT ON secret TO reader`);
  const url = new URL(server.url);
  url.username = 'reader';
  url.password = 'reader';
  const limited = { ...server, url: url.href } as TestPostgres;
  await withSnapshot(limited, { tables: [t('secret')] }, (session) =>
    assert.rejects(readSnapshot(session), isKind('source_denied', /row-level security/)),
  );
});

test('a connection that breaks in the middle is said, and a lost holder is never verified', async () => {
  await server.query(
    "CREATE TABLE wide (id int PRIMARY KEY, v text); INSERT INTO wide SELECT g, repeat('w', 1000) FROM " +
      'generate_series(1, 20000) g',
  );
  await withSnapshot(server, { tables: [t('wide')] }, async (session) => {
    const [chunk] = session.chunks;
    assert.ok(chunk);
    const reading = session.readChunk(chunk, new AbortController().signal);
    await reading.next();
    await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'varve_test' AND " +
        "query LIKE 'COPY%'",
    );
    await assert.rejects(async () => {
      for (;;) if ((await reading.next()).done) return;
    }, isKind('source_unreachable'));
    assert.equal(
      (await readSnapshot(session)).get('public.wide')?.length,
      20_000,
      'another reader takes over',
    );
    await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'varve_test' AND " +
        "state = 'idle in transaction'",
    );
    await assert.rejects(session.verify([t('wide')]), isKind('source_unreachable'));
  });
});

test('a reader that stops early, or is stopped, leaves no COPY running', async () => {
  await withSnapshot(server, { tables: [t('wide')] }, async (session) => {
    const [chunk] = session.chunks;
    assert.ok(chunk);
    for await (const bunch of session.readChunk(chunk, new AbortController().signal)) {
      assert.ok(bunch.next());
      break;
    }
    const stop = new AbortController();
    await assert.rejects(
      async () => {
        for await (const bunch of session.readChunk(chunk, stop.signal)) if (bunch.next()) stop.abort();
      },
      isKind('source_unreachable', /stopped/),
    );
    assert.equal((await readSnapshot(session)).get('public.wide')?.length, 20_000);
    const running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'";
    while ((await server.query(running)).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });
});

test('rows that nobody pulls stay on the server: memory is bounded', async () => {
  await withSnapshot(server, { tables: [t('wide')] }, async (session) => {
    const [chunk] = session.chunks;
    assert.ok(chunk);
    const reading = session.readChunk(chunk, new AbortController().signal);
    await reading.next();
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%' AND wait_event = 'ClientWrite'";
    while ((await server.query(waiting)).length === 0)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await reading.return(undefined);
  });
});

// The holder has its lock, a TRUNCATE waits for that, and a reader's new lock would wait for the TRUNCATE:
// nobody but us could end it.
test('a reader behind a waiting TRUNCATE gives the snapshot up instead of waiting for ever', async () => {
  await server.query('CREATE TABLE queued (id int PRIMARY KEY); INSERT INTO queued VALUES (1)');
  const clients = clientsOf(server);
  const other = await server.connect();
  let truncated: Promise<unknown> = Promise.resolve();
  let opened = 0;
  const open: SnapshotOptions['open'] = async (kind) => {
    if (!kind.replication && opened++ === 1) {
      truncated = other.query('TRUNCATE queued');
      const waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
      while ((await server.query(waits)).length === 0);
    }
    return clients.open(kind);
  };
  const parts = { open, prepare: clients.prepareUnder, slot: 'queued', temporary: false, parallel: 2 };
  await assert.rejects(
    clients.ask('testing', (side) => openSnapshot({ ...parts, side, tables: [t('queued')] })),
    isKind('source_busy', /could not be locked/),
  );
  await truncated;
  assert.deepEqual(await slots(server), []);
  await other.end();
  await clients.close();
});
