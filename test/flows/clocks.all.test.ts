// Clocks that jump, here and at the source: nothing waits for the time that was, and no order is taken from a
// clock.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import type { StatusRecord } from '../../src/topic/state.ts';
import { isRow, rewrittenLog, runInProcess, withLog } from '../support/pipeline-in-process.ts';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { assertSameRows, RUN, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';
import { upsetBy } from '../support/upset.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const DAY_MS = 86_400_000;

test('our clock jumps a day back and two forward while rows wait: they are folded all the same', async () => {
  await using stage = await setStage(server, { commitMs: 2000 });
  const running = stage.pipeline.start(RUN, upsetBy(`clock:${-DAY_MS}`, `clock:${2 * DAY_MS}`));
  await running.saw(/"msg":"streaming"/);
  for (const id of [501, 502]) {
    await stage.sql(`insert into items values (${id}, 'waits'); update items set v = v || '.' where id = 1`);
    await sleep(700);
    assert.equal(await isFolded(stage, id), false, 'the row was folded before the clock jumped');
    running.kill('SIGUSR2');
    await until(() => isFolded(stage, id));
  }
  assert.equal((await statusOf(stage.pipeline)).state, 'running');
  running.kill('SIGTERM');
  const { code, stderr } = await running.finished;
  assert.equal(code, 0, stderr);
  const feed = await openEmbeddedFeed({ path: join(stage.pipeline.directory, 'topic') });
  const { atMs } = JSON.parse((await feed.state()).get('status') ?? '{}') as StatusRecord;
  await feed.close();
  assert.ok(atMs > Date.now() + DAY_MS / 2, 'the clock did not jump');
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test("the source's clock jumps by hours: the versions of a row keep the order of the log", async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  for (let at = 1; at <= 6; at++) await stage.sql(`update items set v = 'change ${at}' where id = 1`);
  await stage.sql('delete from items where id = 2');
  await stage.sql("insert into items values (2, 'back again')");
  let commits = 0;
  await runInProcess(stage.pipeline.file, (parts) => ({
    source: withLog(parts, (reader) =>
      rewrittenLog(reader, (events) => {
        assert.equal(events.filter(isRow).length, 8, 'the changes did not come in one piece');
        for (const event of events)
          if (event.kind === 'begin') event.commitTs += (commits++ % 2 === 0 ? -1n : 1n) * 3_600_000_000n;
        return events;
      }),
    ),
  }));
  assert.equal(commits, 8);
  await assertSameRows(stage);
  const { rows } = await readTable(stage.tables, 'items');
  const chain = (id: string): (string | null | undefined)[][] =>
    rows.filter((row) => row.id === id).map(({ v, _closed_by }) => [v, _closed_by]);
  assert.deepEqual(chain('1'), [
    ['first 1', 'u'],
    ...[1, 2, 3, 4, 5].map((at) => [`change ${at}`, 'u']),
    ['change 6', null],
  ]);
  assert.deepEqual(chain('2'), [
    ['first 2', 'd'],
    ['back again', null],
  ]);
});
