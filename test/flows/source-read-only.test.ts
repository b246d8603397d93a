// A source that takes no writes, for a while: what needs none goes on, what needs one is tried again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { assertSameRows, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const readOnly = ({ name }: Stage, isOn: boolean): Promise<unknown> =>
  server.query(`alter database ${name} set default_transaction_read_only = ${isOn ? 'on' : 'off'}`);

test('a log is read on while its database is read-only', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await readOnly(stage, true);
  await stage.sql("begin read write; insert into items values (500, 'by somebody'); commit");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});

test('a first start on a read-only database is tried again, until it takes writes', async () => {
  await using stage = await setStage(server);
  await readOnly(stage, true);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"kind":"source_busy"/);
  // Between two tries it runs.
  await until(async () => {
    const { state, reason, sentence } = await statusOf(stage.pipeline);
    if (state === 'running') return false;
    assert.deepEqual({ state, reason }, { state: 'retrying', reason: 'source_busy' });
    assert.match(String(sentence), /25006.*read-only/);
    return true;
  });
  await readOnly(stage, false);
  await until(() => isFolded(stage, 20));
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await assertSameRows(stage);
});
