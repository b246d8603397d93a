// The replication protocol against real servers: what is confirmed and when, what comes again after a
// reconnect, slow readers, dead connections, large rows, servers that stop.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseLsn } from '../../../connectors/postgres/lsn.ts';
import type { VarveError } from '../../../src/errors.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { startProxy } from '../../support/tcp-proxy.ts';
import {
  type Copy,
  closeReaders,
  collect,
  collectAll,
  confirmedFlush,
  copyEvent,
  idsOf,
  lsnOf,
  makeSlot,
  openReader,
} from './log-reader-harness.ts';

afterEach(closeReaders);

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
  await server.query('CREATE TABLE t (id int PRIMARY KEY, v text)');
});
after(() => server[Symbol.asyncDispose]());

const insertEach = async (first: number, count: number): Promise<void> => {
  for (let id = first; id < first + count; id++) await server.query(`INSERT INTO t VALUES (${id}, 'v')`);
};

describe('confirming', () => {
  test('reconnects with exact confirmations bring every transaction once', async () => {
    const place = await makeSlot(server);
    await insertEach(1000, 40);
    const seen: number[] = [];
    let resume = place.start;
    for (let round = 0; round < 8; round++) {
      const reader = openReader(server, place);
      let commits = 0;
      const events = await collect(reader, resume, (event) => event.kind === 'commit' && ++commits === 5);
      seen.push(...idsOf(events));
      const last = events.at(-1);
      assert.ok(last?.kind === 'commit');
      resume = last.resume;
      reader.confirm(resume);
      await reader.close();
      assert.equal(await confirmedFlush(server, place.slot), lsnOf(resume));
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 40 }, (_, n) => 1000 + n),
    );
  });

  test('nothing is confirmed that was not asked for, however often the status goes out', async () => {
    const place = await makeSlot(server);
    const first = await confirmedFlush(server, place.slot);
    await insertEach(2000, 3);
    const reader = openReader(server, place, { timing: { statusMs: 20, idleMs: 20, firstIdleMs: 10 } });
    let idles = 0;
    const events = await collect(reader, place.start, (event) => event.kind === 'idle' && ++idles === 6);
    assert.deepEqual(idsOf(events), [2000, 2001, 2002]);
    assert.equal(await confirmedFlush(server, place.slot), first);
    const commits = events.flatMap((event) => (event.kind === 'commit' ? [event.resume] : []));
    reader.confirm(commits[1] ?? '');
    reader.confirm(commits[0] ?? '');
    await sleep(100);
    await reader.close();
    assert.equal(await confirmedFlush(server, place.slot), lsnOf(commits[1] ?? ''));
    const again = openReader(server, place);
    assert.deepEqual(idsOf(await collectAll(again, server, commits[1] ?? '')), [2002]);
    await again.close();
  });

  test('a half received transaction comes again whole', async () => {
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t SELECT g, 'w' FROM generate_series(3000, 3999) g`);
    const reader = openReader(server, place);
    await collect(reader, place.start, (event) => event.kind === 'row' && event.ordinal === 500);
    await reader.close();
    assert.equal(await confirmedFlush(server, place.slot), place.start);
    const again = openReader(server, place);
    assert.equal(idsOf(await collectAll(again, server, place.start)).length, 1000);
    await again.close();
  });

  test('an idle stream reaches the end of the log, also through changes that nobody publishes', async () => {
    const place = await makeSlot(server);
    for (let n = 0; n < 20; n++) await server.query(`COMMENT ON TABLE t IS 'no row of any table ${n}'`);
    const end = String((await server.query('SELECT pg_current_wal_lsn()::text AS lsn'))[0]?.lsn);
    assert.notEqual(end, place.start);
    const reader = openReader(server, place);
    const events = await collect(
      reader,
      place.start,
      (event) => event.kind === 'idle' && parseLsn(lsnOf(event.resume)) >= parseLsn(end),
    );
    const last = events.at(-1);
    assert.ok(last?.kind === 'idle');
    reader.confirm(last.resume);
    await reader.close();
    assert.equal(await confirmedFlush(server, place.slot), lsnOf(last.resume));
    await insertEach(4000, 1);
    const again = openReader(server, place);
    assert.deepEqual(idsOf(await collectAll(again, server, last.resume)), [4000]);
    await again.close();
  });
});

describe('slow and dead', () => {
  test('a consumer that pulls nothing for many timeouts stays connected and loses nothing', async () => {
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(10000, 39999) g`);
    const reader = openReader(server, place, { timing: { senderTimeoutMs: 2_000 } });
    const seen: Copy[] = [];
    let hasSlept = false;
    for await (const chunk of reader.read(place.start, AbortSignal.timeout(60_000))) {
      for (let event = chunk.next(); event; event = chunk.next()) {
        if (event.kind === 'row' && !hasSlept) {
          hasSlept = true;
          await sleep(7_000);
        }
        seen.push(copyEvent(event));
      }
      if (seen.at(-1)?.kind === 'commit') break;
    }
    await reader.close();
    assert.equal(idsOf(seen).length, 30_000);
  });

  test('a flyweight row stays as it is while its consumer waits', async () => {
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t SELECT g, 'r' || g FROM generate_series(40000, 40999) g`);
    const reader = openReader(server, place);
    for await (const chunk of reader.read(place.start, AbortSignal.timeout(60_000))) {
      const event = chunk.next();
      if (event?.kind === 'row') {
        const early = copyEvent(event);
        await server.query(
          `INSERT INTO t SELECT g, repeat('o', 1000) FROM generate_series(500000, 519999) g`,
        );
        await sleep(200);
        assert.deepEqual(copyEvent(event), early);
        break;
      }
    }
    await reader.close();
  });

  test('a silent connection is found dead, though nothing was closed', async () => {
    const place = await makeSlot(server);
    const proxy = await startProxy(server.port);
    const reader = openReader(server, place, {
      url: server.url.replace(String(server.port), String(proxy.port)),
      timing: { statusMs: 50, silenceMs: 600, idleMs: 50 },
    });
    const reading = collect(reader, place.start, (event) => {
      if (event.kind === 'idle') proxy.freeze();
      return false;
    });
    await assert.rejects(
      reading,
      (error: VarveError) => error.kind === 'source_unreachable' && /dead/.test(error.message),
    );
    await reader.close();
    proxy.close();
  });

  test('a slow link makes progress and is not taken for a dead one', async () => {
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t SELECT g, repeat('z', 100) FROM generate_series(42000, 42999) g`);
    const proxy = await startProxy(server.port, { bytesPerTick: 4_000, tickMs: 20 });
    const reader = openReader(server, place, {
      url: server.url.replace(String(server.port), String(proxy.port)),
      timing: { statusMs: 50, silenceMs: 500 },
    });
    assert.equal(idsOf(await collectAll(reader, server, place.start)).length, 1000);
    await reader.close();
    proxy.close();
  });

  test('aborting ends the reading without an error, and confirming still works', async () => {
    const place = await makeSlot(server);
    const reader = openReader(server, place);
    const stop = new AbortController();
    let resume = '';
    for await (const chunk of reader.read(place.start, stop.signal)) {
      for (let event = chunk.next(); event; event = chunk.next()) {
        if (event.kind !== 'idle') continue;
        resume = event.resume;
        stop.abort();
      }
    }
    reader.confirm(resume);
    await reader.close();
    assert.equal(await confirmedFlush(server, place.slot), lsnOf(resume));
  });
});

describe('sizes', () => {
  test('a row of 60 MB passes, and the buffer falls back after it', async () => {
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t VALUES (50000, repeat('m', 60000000)), (50001, 'small')`);
    const reader = openReader(server, place);
    const lengths: number[] = [];
    for await (const chunk of reader.read(place.start, AbortSignal.timeout(60_000))) {
      let isDone = false;
      for (let event = chunk.next(); event; event = chunk.next()) {
        if (event.kind === 'row' && event.after)
          lengths.push((event.after.end[1] ?? 0) - (event.after.start[1] ?? 0));
        isDone ||= event.kind === 'commit';
      }
      if (isDone) break;
    }
    await reader.close();
    assert.deepEqual(lengths, [60_000_000, 5]);
  });

  test('a transaction of 300,000 rows keeps its order', async () => {
    const place = await makeSlot(server);
    await server.query(`INSERT INTO t SELECT g, 'big' FROM generate_series(100000, 399999) g`);
    const reader = openReader(server, place);
    let next = 0;
    for await (const chunk of reader.read(place.start, AbortSignal.timeout(60_000))) {
      let isDone = false;
      for (let event = chunk.next(); event; event = chunk.next()) {
        if (event.kind === 'row') assert.equal(event.ordinal, next++);
        isDone ||= event.kind === 'commit';
      }
      if (isDone) break;
    }
    await reader.close();
    assert.equal(next, 300_000);
  });
});

test('a server that shuts down does not have to wait for the next idle moment', async () => {
  await using own = await startPostgres();
  await own.query('CREATE TABLE s (id int PRIMARY KEY)');
  const place = await makeSlot(own);
  await own.query('INSERT INTO s VALUES (1)');
  const reader = openReader(own, place, { timing: { firstIdleMs: 3_600_000, idleMs: 3_600_000 } });
  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    await own.query(`COMMENT ON TABLE s IS 'a position that no row has'`);
    await own.stop('fast');
  };
  const reading = collect(reader, place.start, (event) => {
    if (event.kind === 'idle') reader.confirm(event.resume);
    if (event.kind === 'commit') stopped ??= stop();
    return false;
  });
  await assert.rejects(reading, { name: 'VarveError', kind: 'source_unreachable' });
  await stopped;
});

describe('after a crash of the server', () => {
  test('what was not confirmed comes again, what was confirmed does not', async () => {
    await using own = await startPostgres({ settings: { fsync: 'on' } });
    await own.query('CREATE TABLE c (id int PRIMARY KEY)');
    const place = await makeSlot(own);
    for (const id of [1, 2, 3]) await own.query(`INSERT INTO c VALUES (${id})`);
    const reader = openReader(own, place);
    let stopped: Promise<void> | null = null;
    const reading = collect(reader, place.start, (event) => {
      if (event.kind === 'row' && event.after?.[0] === '3') stopped = own.stop('immediate');
      return false;
    });
    await assert.rejects(reading, { name: 'VarveError', kind: 'source_unreachable' });
    await stopped;
    await reader.close();
    await own.start();
    const again = openReader(own, place);
    assert.deepEqual(idsOf(await collectAll(again, own, place.start)), [1, 2, 3]);
    await again.close();
  });
});
