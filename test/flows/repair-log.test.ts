// A log that does not reach back to our checkpoint stops the pipeline: both positions and the repair are
// named, nothing is written, and the repair makes the table equal the source again.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { startPostgres } from '../support/postgres.ts';
import {
  assertMended,
  assertRefuses,
  readCurrent,
  type Stage,
  setStage,
  standingOf,
  UNTIL,
} from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';

const server = await startPostgres({ major: 17, settings: { max_slot_wal_keep_size: '1MB' } });
test.after(() => server[Symbol.asyncDispose]());

/** What the pipeline does not see: rows that came, changed and went. */
const UNSEEN = `delete from items where id = 3; update items set v = 'unseen' where id = 4;
  insert into items values (100, 'new')`;

/** A pipeline that has caught up, and the position where it stands. */
const settled = async (): Promise<{ stage: Stage; checkpoint: string }> => {
  const stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  return { stage, checkpoint: (await standingOf(stage)).resume };
};

const logEnd = async ({ sql }: Stage): Promise<string> =>
  String((await sql('select pg_current_wal_lsn()::text as lsn'))[0]?.lsn);

const dropSlot = async ({ sql, slot }: Stage): Promise<void> => {
  await sql(`select pg_drop_replication_slot('${slot}')`);
};

const readAgain = async (stage: Stage): Promise<void> => {
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  const { state, reason } = await standingOf(stage);
  assert.deepEqual(
    { state, reason },
    { state: 'stopped', reason: null },
    'status still tells what was mended',
  );
};

test('a slot that was dropped: log_missing, mended by reading everything again', async () => {
  const { stage, checkpoint } = await settled();
  await using _ = stage;
  await dropSlot(stage);
  await stage.sql(UNSEEN);
  const end = await logEnd(stage);
  await assertRefuses(stage, {
    kind: 'log_missing',
    says: [stage.slot, checkpoint, end, /varve snapshot \S+ --all/, /varve resume \S+ --accept-gap/],
  });
  await readAgain(stage);
  await assertMended(stage);
  const { rows } = await readTable(stage.tables, 'items');
  const gone = rows.filter(({ id }) => id === '3').map(({ _closed_by }) => _closed_by);
  assert.deepEqual(gone, ['s'], 'the row that went unseen is closed by the sweep');
});

test('a slot that was dropped: going on from now keeps what is known, and writes the hole down', async () => {
  const { stage, checkpoint } = await settled();
  await using _ = stage;
  await dropSlot(stage);
  await stage.sql(UNSEEN);
  await assertRefuses(stage, { kind: 'log_missing', says: [checkpoint] });
  const { stdout } = await stage.pipeline.run(['resume', 'pipeline.yaml', '--accept-gap', '--json']);
  const accepted = JSON.parse(stdout) as { from: string; to: string };
  assert.equal(accepted.from, checkpoint);
  const { state, reason } = await standingOf(stage);
  assert.deepEqual({ state, reason }, { state: 'stopped', reason: null });
  await stage.sql("update items set v = 'seen' where id = 5; delete from items where id = 6");
  await stage.pipeline.run(UNTIL);
  const known = new Map((await readCurrent(stage)).map(([id = null, v]) => [id, v]));
  assert.equal(known.get('5'), 'seen');
  assert.equal(known.has('6'), false);
  assert.equal(known.get('3'), 'first 3', 'what happened in the hole is not known, and not made up');
  assert.equal(known.has('100'), false);
  const feed = await openEmbeddedFeed({ path: join(stage.pipeline.directory, 'topic') });
  const gap = JSON.parse((await feed.state()).get('gap/1') ?? 'null');
  await feed.close();
  assert.equal(gap.from, checkpoint);
  assert.equal(gap.to, accepted.to);
  // Once the tables are read again, the hole is all that is missing.
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  await assertMended(stage);
});

test('a slot that somebody else moved on: history_gap', async () => {
  const { stage, checkpoint } = await settled();
  await using _ = stage;
  await stage.sql(UNSEEN);
  const end = await logEnd(stage);
  await stage.sql(`select pg_replication_slot_advance('${stage.slot}', '${end}')`);
  await assertRefuses(stage, { kind: 'history_gap', says: [checkpoint, end, /varve snapshot \S+ --all/] });
  await readAgain(stage);
  await assertMended(stage);
});

test('a slot that somebody made again: history_gap', async () => {
  const { stage, checkpoint } = await settled();
  await using _ = stage;
  await dropSlot(stage);
  await stage.sql(UNSEEN);
  await stage.sql(`select pg_create_logical_replication_slot('${stage.slot}', 'pgoutput')`);
  const [row] = await stage.sql(
    `select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = '${stage.slot}'`,
  );
  await assertRefuses(stage, { kind: 'history_gap', says: [checkpoint, String(row?.lsn)] });
  const { stdout } = await stage.pipeline.run(['resume', 'pipeline.yaml', '--accept-gap']);
  assert.ok(stdout.includes(checkpoint));
  await stage.pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
  await assertMended(stage);
});

test('a slot whose log the server discarded: log_lost', async () => {
  const { stage, checkpoint } = await settled();
  await using _ = stage;
  await stage.sql(UNSEEN);
  // Two segments of 16 MB and a checkpoint: more than the server may keep for a slot.
  for (let at = 0; at < 3; at++) {
    await stage.sql('create table filler as select 1; drop table filler; select pg_switch_wal()');
  }
  await stage.sql('checkpoint');
  const [row] = await stage.sql(
    `select wal_status from pg_replication_slots where slot_name = '${stage.slot}'`,
  );
  assert.equal(row?.wal_status, 'lost');
  await assertRefuses(stage, {
    kind: 'log_lost',
    says: [stage.slot, checkpoint, /stood at ([0-9A-F]+\/[0-9A-F]+)/, /varve snapshot \S+ --all/],
  });
  await readAgain(stage);
  await assertMended(stage);
});
