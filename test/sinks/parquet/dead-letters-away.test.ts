// Where dead letters cannot be written, nothing is committed past the record: it comes again, and is buried
// once they can.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { changeAt, TableBench, TOPIC_ID } from '../../support/table-bench.ts';
import { readTable } from '../../support/table-rows.ts';

test('dead letters that cannot be written hold the table before the record', async () => {
  await using bench = await TableBench.make();
  await bench.commit([changeAt(1)]);
  const poison = { ...changeAt(2), headers: { 'varve.order': 'nonsense' } };
  const next = bench.batch([poison, changeAt(3)]);
  const commit = () => bench.table.commit([next], bench.context, TOPIC_ID);
  const { version } = (await readTable(bench.location, 't')).state;
  const away = new VarveError('topic_unreachable', 'The topic of the dead letters is away.');
  Object.assign(bench.dead, {
    push: () => {
      throw away;
    },
  });
  await assert.rejects(commit(), away);
  assert.deepEqual([...bench.table.offsets()], [[0, 1n]]);
  assert.equal((await readTable(bench.location, 't')).state.version, version);
  Reflect.deleteProperty(bench.dead, 'push');
  const report = await commit();
  assert.deepEqual([report.dead, bench.dead.length, bench.dead[0]?.offset], [1, 1, 1n]);
  assert.deepEqual([...bench.table.offsets()], [[0, 3n]]);
  assert.deepEqual(
    (await readTable(bench.location, 't')).rows.map(({ id }) => id),
    ['1', '3'],
  );
});
