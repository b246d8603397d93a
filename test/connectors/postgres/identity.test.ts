// Who the source is: a promoted server that goes on where we were, and one that does not.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareIdentity, findFork, printIdentity } from '../../../connectors/postgres/identity.ts';
import { formatLsn, parseLsn } from '../../../connectors/postgres/lsn.ts';
import { VarveError } from '../../../src/errors.ts';
import { startPostgres } from '../../support/postgres.ts';
import { openTestSource } from './source-reading.ts';

test('a history names where each timeline was left', () => {
  const history =
    '1\t0/3000060\tno recovery target specified\n\n2\t0/50000A0\tno recovery target specified\n';
  assert.equal(findFork(history, 1), 0x3000060n);
  assert.equal(findFork(history, 2), 0x50000a0n);
  assert.equal(findFork(history, 3), null);
  assert.equal(findFork('', 1), null);
});

test('each fact that differs is named with both values', () => {
  const now = { systemId: '7', timeline: 2, database: 'shop', databaseOid: '5' };
  compareIdentity(printIdentity(now), now);
  compareIdentity({ ...printIdentity(now), timeline: '1' }, now);
  const differing = { system_id: '8', database: 'other', database_oid: '6', timeline: '3' };
  for (const [key, value] of Object.entries(differing)) {
    assert.throws(
      () => compareIdentity({ ...printIdentity(now), [key]: value }, now),
      (error) =>
        error instanceof VarveError &&
        error.message.includes(value) &&
        /varve (reset|snapshot) FILE/.test(error.message),
      key,
    );
  }
});

test('after a promotion only a checkpoint before the fork may be continued', async () => {
  await using server = await startPostgres();
  await server.query('CREATE TABLE a (id int PRIMARY KEY)');
  const first = await openTestSource(server);
  await first.prepare([['public', 'a']]);
  const resume = await first.beginLog();
  const stored = await first.identity();
  await first.close();
  await server.stop('fast');
  await writeFile(join(server.dataDir, 'standby.signal'), '');
  await server.start();
  await server.query('SELECT pg_promote()');
  const [row] = await server.query('SELECT pg_current_wal_lsn()::text AS lsn');
  const promoted = String(row?.lsn);
  await server.query('INSERT INTO a SELECT generate_series(1, 10000)');
  const second = await openTestSource(server);
  await second.verifyIdentity(stored);
  await second.verifyResume(resume);
  assert.equal((await second.identity()).timeline, '2');
  const beyond = formatLsn(parseLsn(promoted) + 0x1000n);
  await assert.rejects(
    second.verifyResume(beyond),
    (error) =>
      error instanceof VarveError && error.kind === 'source_rewound' && error.message.includes(beyond),
  );
  await second.close();
  const third = await openTestSource(server);
  await third.verifyIdentity({ ...stored, timeline: '2' });
  await third.verifyResume(beyond);
  await third.close();
});

test('another cluster is another source', async () => {
  await using one = await startPostgres();
  await using other = await startPostgres({ freshInitdb: true });
  const here = await openTestSource(one, { tables: ['none.*'] });
  const stored = await here.identity();
  await here.close();
  const there = await openTestSource(other, { tables: ['none.*'] });
  await assert.rejects(
    there.verifyIdentity(stored),
    (error) => error instanceof VarveError && error.kind === 'source_changed',
  );
  await there.close();
});
