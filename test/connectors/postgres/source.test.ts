// The source as the pipeline uses it, on real servers: begin, resume, refuse, mend, and leave nothing behind.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { LogEvent } from '../../../src/change/event.ts';
import type { TableName } from '../../../src/change/schema.ts';
import type { Source } from '../../../src/connector.ts';
import { type ErrorKind, VarveError } from '../../../src/errors.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { openOwn } from './source-connections.ts';
import { openTestSource, readLog, readSnapshot, type SourceParts } from './source-reading.ts';

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
  await server.query('CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY)');
});
after(() => server[Symbol.asyncDispose]());

const t = (name: string): TableName => ['public', name];
const isKind =
  (kind: ErrorKind, ...parts: RegExp[]) =>
  (error: unknown): true => {
    assert.ok(error instanceof VarveError, String(error));
    assert.equal(error.kind, kind, error.message);
    for (const part of parts) assert.match(error.message, part);
    return true;
  };

/** A source that leaves nothing in the server. */
const withSource = async (parts: SourceParts, use: (source: Source) => Promise<void>): Promise<void> => {
  const source = await openTestSource(server, parts);
  try {
    await use(source);
  } finally {
    await source.reset();
    await source.close();
  }
};
const begin = async (source: Source, tables: readonly TableName[]): Promise<string> => {
  await source.prepare(tables);
  const session = await source.beginSnapshot({ tables, parallel: 3 });
  await readSnapshot(session);
  await session.close();
  return session.resume;
};
const insert = (id: number): Promise<unknown> => server.query('INSERT INTO a VALUES ($1, $2)', [id, 'v']);

test('a first start, a resume, and what is left after a reset', async () => {
  await withSource({}, async (source) => {
    assert.equal(await source.isFresh(), true);
    assert.deepEqual(
      (await source.tables()).map(({ name }) => name.join('.')),
      ['public.a', 'public.b'],
    );
    const stored = await source.identity();
    const resume = await begin(source, [t('a'), t('b')]);
    assert.equal(await source.isFresh(), false);
    await insert(1);
    const end = await source.end();
    assert.ok(source.covers(end, end) && source.covers(end, resume) && !source.covers(resume, end));
    assert.ok(source.distance(resume, end) > 0 && source.distance(end, resume) === 0);
    await source.verifyIdentity(stored);
    await source.verifyResume(resume);
    const seen: string[] = [];
    await readLog(source, { after: resume, end }, ({ kind }) => seen.push(kind));
    assert.ok(seen.join().startsWith('begin,row,commit'));
  });
  assert.deepEqual(
    await server.query('SELECT 1 FROM pg_replication_slots UNION ALL SELECT 1 FROM pg_publication'),
    [],
  );
});

test('a start that was killed leaves one slot at most, and the next one takes it away', async () => {
  for (let loop = 0; loop < 10; loop++) {
    const source = await openTestSource(server);
    await source.prepare([t('a')]);
    const session = await source.beginSnapshot({ tables: [t('a')], parallel: 3 });
    for (const chunk of session.chunks) {
      await session.readChunk(chunk, new AbortController().signal)[Symbol.asyncIterator]().next();
    }
    // As the kernel does for a killed process: every socket closes at once.
    await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'varve_test'",
    );
    await session.close();
    await source.close();
    const next = await openTestSource(server);
    assert.equal(await next.isFresh(), false);
    assert.equal((await server.query('SELECT 1 FROM pg_replication_slots')).length, 1);
    await assert.rejects(
      next.beginSnapshot({ tables: [t('a')], parallel: 3 }),
      isKind('state_lost', /varve reset FILE/),
    );
    await next.dropUnused();
    assert.equal(await next.isFresh(), true);
    await next.close();
  }
});

test('never a snapshot: the log begins where it is opened', async () => {
  await withSource({}, async (source) => {
    await source.prepare([t('a')]);
    await insert(100);
    const resume = await source.beginLog();
    await insert(101);
    let rows = 0;
    await readLog(
      source,
      { after: resume, end: await source.end() },
      ({ kind }) => (rows += kind === 'row' ? 1 : 0),
    );
    assert.equal(rows, 1);
  });
});

test('each way in which history is lost is told from the others', async () => {
  await withSource({}, async (source) => {
    const resume = await begin(source, [t('a')]);
    await insert(200);
    await source.verifyResume(await source.end());
    const ahead = 'FFFF/0';
    await assert.rejects(source.verifyResume(ahead), isKind('source_rewound', /FFFF\/0/));
    await server.query("SELECT pg_replication_slot_advance('varve_test', pg_current_wal_lsn())");
    await assert.rejects(
      source.verifyResume(resume),
      isKind('history_gap', new RegExp(resume), /--accept-gap/),
    );
    await source.dropUnused();
    await assert.rejects(source.verifyResume(resume), isKind('log_missing', new RegExp(resume), /--all/));
    await server.query("SELECT pg_create_logical_replication_slot('varve_test', 'test_decoding')");
    await assert.rejects(source.verifyResume(resume), isKind('log_missing', /test_decoding/));
  });
});

test('a second reader waits and says who the first is; neither is ended', async () => {
  await withSource({}, async (source) => {
    const resume = await begin(source, [t('a')]);
    const log = source.log();
    const reading = log.read(resume, new AbortController().signal)[Symbol.asyncIterator]();
    await reading.next();
    const second = await openTestSource(server, { pipeline: 'twin', slot: 'varve_test' });
    await assert.rejects(second.verifyResume(resume), isKind('log_busy', /varve_test/));
    await assert.rejects(second.dropUnused(), isKind('log_busy', /varve_test/));
    await second.close();
    await insert(300);
    assert.equal((await reading.next()).done, false, 'the first reads on');
    await log.close();
    await reading.return?.();
  });
});

test('a leftover of our own does not keep reset from its work', async () => {
  const source = await openTestSource(server);
  await begin(source, [t('a')]);
  const leftover = await openOwn(server, { replication: true });
  void leftover
    .query(
      "START_REPLICATION SLOT varve_test LOGICAL 0/0 (proto_version '1', publication_names 'varve_test')",
    )
    .catch(() => undefined);
  const holds = 'SELECT 1 FROM pg_replication_slots WHERE active_pid IS NOT NULL';
  while ((await server.query(holds)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await source.reset();
  assert.equal(await source.isFresh(), true);
  await source.close();
});

const firstStale = async (source: Source, after: string): Promise<LogEvent<unknown> | null> => {
  let found: LogEvent<unknown> | null = null;
  await readLog(source, { after, end: await source.end() }, (event) => {
    if (event.kind === 'stale') found = event;
  });
  return found;
};

test('rows rewritten while nobody looked make the table stale until it is read again', async () => {
  await withSource({}, async (first) => {
    const resume = await begin(first, [t('a'), t('b')]);
    const stored = await first.identity();
    await server.query('ALTER TABLE a ADD flag boolean DEFAULT true');
    await server.query('VACUUM FULL b');
    for (let start = 0; start < 2; start++) {
      const later = await openTestSource(server);
      await later.verifyIdentity(
        start === 0 ? stored : JSON.parse(JSON.stringify(await firstIdentity(stored))),
      );
      const stale = await firstStale(later, resume);
      assert.deepEqual(stale, {
        kind: 'stale',
        table: ['public', 'a'],
        reason: 'column flag was added with a default',
      });
      await later.close();
    }
    const mending = await openTestSource(server);
    await mending.verifyIdentity(stored);
    const session = await mending.snapshotMore({ tables: [t('a')], parallel: 3 });
    await session.close();
    const mended = await mending.identity();
    await mending.close();
    const last = await openTestSource(server);
    await last.verifyIdentity(mended);
    assert.equal(await firstStale(last, resume), null);
    await last.close();
  });
  await server.query('ALTER TABLE a DROP flag');
});

/** What a start that verified `stored` would store again. */
const firstIdentity = async (
  stored: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> => {
  const source = await openTestSource(server);
  await source.verifyIdentity(stored);
  const again = await source.identity();
  await source.close();
  return again;
};

test('a rewrite while the log is read is let in between transactions; ignored, it is a warning', async () => {
  const warnings: string[] = [];
  for (const onRewrite of ['stop', 'ignore'] as const) {
    await withSource({ on_rewrite: onRewrite, warnings }, async (source) => {
      const resume = await begin(source, [t('a')]);
      await insert(onRewrite === 'stop' ? 400 : 402);
      const log = source.log();
      const seen: LogEvent<unknown>['kind'][] = [];
      const stop = new AbortController();
      const due = setTimeout(() => stop.abort(), 15_000);
      for await (const chunk of log.read(resume, stop.signal)) {
        for (let event = chunk.next(); event !== null; event = chunk.next()) {
          seen.push(event.kind);
          if (event.kind === 'commit' && seen.filter((kind) => kind === 'commit').length === 1) {
            await server.query('ALTER TABLE a ALTER v TYPE varchar(50) USING left(v, 50)');
            await server.query("BEGIN; INSERT INTO a VALUES ($$1$$::int + 5000, 'x'); COMMIT");
            await server.query('DELETE FROM a WHERE id > 5000');
          }
          if (event.kind === 'stale') stop.abort();
        }
        if (warnings.length > 0) stop.abort();
      }
      clearTimeout(due);
      await log.close();
      const at = seen.indexOf('stale');
      if (onRewrite === 'stop')
        assert.ok(at > 0 && seen[at - 1] !== 'begin' && seen[at - 1] !== 'row', seen.join());
      else
        assert.match(warnings.join(), /public\.a changed without events .*column v was altered.*on_rewrite/);
      await server.query('ALTER TABLE a ALTER v TYPE text');
    });
  }
});

test('another database or cluster under the same address is not the same source', async () => {
  await withSource({}, async (source) => {
    const stored = await source.identity();
    await assert.rejects(
      source.verifyIdentity({ ...stored, system_id: '1' }),
      isKind('source_changed', /cluster/, /varve snapshot FILE --all/, /varve reset FILE/),
    );
    await assert.rejects(
      source.verifyIdentity({ ...stored, database_oid: '1' }),
      isKind('source_changed', /database_oid was 1/),
    );
    await assert.rejects(
      source.verifyIdentity({ ...stored, timeline: '9' }),
      isKind('source_rewound', /timeline was 9/, /--all/),
    );
  });
});

test('a server that is away, or refuses, is said as such', async () => {
  await assert.rejects(
    openTestSource(server, { url: 'postgres://postgres@127.0.0.1:1/postgres' }),
    isKind('source_unreachable'),
  );
  const url = new URL(server.url);
  url.password = 'wrong-secret';
  await assert.rejects(openTestSource(server, { url: url.href }), (error: unknown) => {
    assert.ok(!String(error).includes('wrong-secret'));
    return isKind('source_denied')(error);
  });
});
