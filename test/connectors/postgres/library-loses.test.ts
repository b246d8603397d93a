// Why this connector has a replication client of its own: two ways in which pg-logical-replication confirms
// more than its user did, each shown beside our reader in the same scene. If these tests fail because the
// library was mended, good.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication';
import { formatLsn } from '../../../connectors/postgres/lsn.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import {
  closeReaders,
  collect,
  collectAll,
  confirmedFlush,
  type LogPlace,
  lsnOf,
  makeSlot,
  openReader,
  rowsOf,
} from './log-reader-harness.ts';

afterEach(closeReaders);

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
  await server.query('CREATE TABLE t (id serial PRIMARY KEY)');
});
after(() => server[Symbol.asyncDispose]());

type LibraryLog = { tag: string; new?: { id: number }; commitEndLsn?: string | null };

/** Ids that the library hands out until it was quiet for a while; `onCommit` may acknowledge. */
const readWithLibrary = async (
  place: LogPlace,
  timeoutSeconds: number,
  onCommit: (service: LogicalReplicationService, endLsn: string, count: number) => void,
): Promise<number[]> => {
  const service = new LogicalReplicationService(
    { connectionString: server.url },
    { acknowledge: { auto: false, timeoutSeconds } },
  );
  const ids: number[] = [];
  let commits = 0;
  service.on('error', () => undefined);
  service.on('data', (_lsn: string, log: LibraryLog) => {
    if (log.tag === 'insert' && log.new) ids.push(log.new.id);
    if (log.tag === 'commit') onCommit(service, log.commitEndLsn ?? '', ++commits);
  });
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [place.publication] });
  void service.subscribe(plugin, place.slot).catch(() => undefined);
  await sleep(500 + timeoutSeconds * 2_500);
  await service.destroy();
  await slotFree(place);
  return ids;
};

const slotFree = async (place: LogPlace): Promise<void> => {
  for (;;) {
    const rows = await server.query('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [
      place.slot,
    ]);
    if (rows[0]?.active === false) return;
    await sleep(20);
  }
};

/**
 * Two transactions whose commit records lie side by side, so that the first one's end is where the second
 * begins.
 */
const adjacentCommits = async (): Promise<{ place: LogPlace; ids: number[] }> => {
  const [first, second] = [await server.connect(), await server.connect()];
  try {
    for (;;) {
      const place = await makeSlot(server);
      const ids: number[] = [];
      for (const session of [first, second]) {
        await session.query('BEGIN');
        ids.push((await session.query('INSERT INTO t DEFAULT VALUES RETURNING id')).rows[0].id);
      }
      await first.query('COMMIT');
      await second.query('COMMIT');
      // Somebody else may have written between them; then there is nothing to show, so again.
      const probe = openReader(server, place);
      const events = await collectAll(probe, server, place.start);
      await probe.close();
      const end = events.find((event) => event.kind === 'commit')?.resume ?? '0/0';
      const begin = events.filter((event) => event.kind === 'begin')[1]?.position ?? 0n;
      if (lsnOf(end) === formatLsn(begin)) return { place, ids };
    }
  } finally {
    await first.end();
    await second.end();
  }
};

test('after an acknowledged commit the library never gets the next one; our reader does', async () => {
  const theirs = await adjacentCommits();
  const before = await readWithLibrary(theirs.place, 0, (service, endLsn, count) => {
    if (count === 1) void service.acknowledge(endLsn);
  });
  assert.deepEqual(before.slice(0, 2), theirs.ids);
  const lost = await readWithLibrary(theirs.place, 0, () => undefined);
  assert.ok(!lost.includes(theirs.ids[1] ?? 0), `the library got ${lost}: it does not lose this any more`);

  const ours = await adjacentCommits();
  const reader = openReader(server, ours.place);
  const first = await collect(reader, ours.place.start, (event) => event.kind === 'commit');
  const end = first.at(-1);
  assert.ok(end?.kind === 'commit');
  reader.confirm(end.resume);
  await reader.close();
  assert.equal(await confirmedFlush(server, ours.place.slot), lsnOf(end.resume));
  const again = openReader(server, ours.place);
  const rest = rowsOf(await collectAll(again, server, end.resume));
  await again.close();
  assert.deepEqual(rest, [[String(ours.ids[1])]]);
});

test('without any acknowledgement the library confirms by its timer; our reader does not', async () => {
  const theirs = await makeSlot(server);
  const ours = await makeSlot(server);
  const inserted = await server.query('INSERT INTO t SELECT FROM generate_series(1, 3) RETURNING id');
  const ids = inserted.map((row) => Number(row.id));

  assert.deepEqual(await readWithLibrary(theirs, 1, () => undefined), ids);
  assert.deepEqual(await readWithLibrary(theirs, 0, () => undefined), []);

  for (let round = 0; round < 2; round++) {
    const reader = openReader(server, ours, { timing: { statusMs: 20, firstIdleMs: 20, idleMs: 20 } });
    let idles = 0;
    const events = await collect(reader, ours.start, (event) => event.kind === 'idle' && ++idles === 10);
    await reader.close();
    assert.deepEqual(
      rowsOf(events).map((row) => Number(row?.[0])),
      ids,
    );
  }
});
