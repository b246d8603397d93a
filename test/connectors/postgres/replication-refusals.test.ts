// What each refusal of the server becomes: the kind, and what is named in the sentence.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { VarveError } from '../../../src/errors.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { startProxy } from '../../support/tcp-proxy.ts';
import {
  closeReaders,
  collect,
  collectAll,
  type LogPlace,
  makeSlot,
  openReader,
  type ReaderExtras,
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

/** The last thing a reader says before it starts its stream is a setting. */
const dropSlotBeforeStart = async (slot: string): Promise<void> => {
  const asked = `SELECT 1 FROM pg_stat_activity
    WHERE application_name = 'varve_test' AND query LIKE 'SET wal_sender_timeout%'`;
  while ((await server.query(asked)).length === 0) await sleep(10);
  await server.query('SELECT pg_drop_replication_slot($1)', [slot]);
};

describe('refusals', () => {
  const refused = async (place: LogPlace & ReaderExtras, kind: string, message: RegExp): Promise<void> => {
    const reader = openReader(server, place, place);
    await assert.rejects(collectAll(reader, server, place.start), (error: VarveError) => {
      assert.equal(error.kind, kind, error.message);
      assert.match(error.message, message);
      return true;
    });
    await reader.close();
  };

  test('a slot that is gone', async () => {
    const place = await makeSlot(server);
    await refused({ ...place, slot: 'nobody' }, 'log_missing', /"nobody" does not exist/);
  });

  test('a slot that goes between the look at it and the start of its stream', async () => {
    const place = await makeSlot(server);
    // Far enough away for the slot to be dropped while the last answer before the start is under way.
    using proxy = await startProxy(server.port, { delayMs: 150 });
    const url = server.url.replace(`:${server.port}/`, `:${proxy.port}/`);
    const dropped = dropSlotBeforeStart(place.slot);
    const named = new RegExp(`slot "${place.slot}" does not exist any more`);
    await refused({ ...place, url }, 'log_missing', named);
    await dropped;
  });

  test('a publication that is gone, and one whose slot is older', async () => {
    const place = await makeSlot(server);
    await refused(
      { ...place, publication: 'Nobody "x"' },
      'source_not_ready',
      /CREATE PUBLICATION "Nobody ""x""" FOR/,
    );
    await insertEach(60_000, 1);
    await server.query('CREATE PUBLICATION late FOR TABLE t');
    await refused({ ...place, publication: 'late' }, 'source_not_ready', /older than the publication/);
  });

  test('a slot that another reader holds, by its process', async () => {
    const place = await makeSlot(server);
    const holder = openReader(server, place);
    await collect(holder, place.start, (event) => event.kind === 'idle');
    await refused(place, 'log_busy', /in use by the server process \d+/);
    await holder.close();
    const next = openReader(server, place);
    await collect(next, place.start, (event) => event.kind === 'idle');
    await next.close();
  });

  test('a slot of another plugin', async () => {
    const place = await makeSlot(server);
    await server.query(`SELECT pg_create_logical_replication_slot('decoding', 'test_decoding')`);
    await refused({ ...place, slot: 'decoding' }, 'source_changed', /test_decoding/);
  });

  test('a wrong password and an unknown database, without the password in the error', async () => {
    const place = await makeSlot(server);
    const url = new URL(server.url);
    url.pathname = '/nowhere';
    await refused({ ...place, url: url.href }, 'source_not_ready', /"nowhere"/);
    await refused(
      { ...place, url: 'postgres://u:s3cret@127.0.0.1:1/x' },
      'source_unreachable',
      /ECONNREFUSED/,
    );
    await server.query(`CREATE ROLE weak LOGIN PASSWORD 'p'`);
    url.username = 'weak';
    url.password = 's3cret';
    const reader = openReader(server, place, { url: url.href });
    const error = await collectAll(reader, server, place.start).catch((thrown: VarveError) => thrown);
    assert.ok(error instanceof Error && error.message.length > 0);
    assert.doesNotMatch(`${error.message}${error.stack}${JSON.stringify(error)}`, /s3cret/);
  });

  test('a server that ends the connection or stops', async () => {
    const place = await makeSlot(server);
    const reader = openReader(server, place);
    const reading = collect(reader, place.start, (event) => {
      if (event.kind === 'idle') {
        void server.query(
          'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1',
          [place.slot],
        );
      }
      return false;
    });
    await assert.rejects(reading, { name: 'VarveError', kind: 'source_unreachable' });
    await reader.close();
  });

  test('a slot that the server gave up', async () => {
    const settings = { max_slot_wal_keep_size: '1MB', min_wal_size: '32MB', max_wal_size: '32MB' };
    await using small = await startPostgres({ settings });
    await small.query('CREATE TABLE w (id int, v text)');
    const place = await makeSlot(small);
    for (let n = 0; n < 4; n++) {
      await small.query(`INSERT INTO w SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g`);
      await small.query('SELECT pg_switch_wal()');
      await small.query('CHECKPOINT');
    }
    const reader = openReader(small, place);
    await assert.rejects(collectAll(reader, small, place.start), { name: 'VarveError', kind: 'log_lost' });
    await reader.close();
  });
});
