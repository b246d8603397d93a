// Files of a table that somebody deleted, cut or changed by hand: whatever touches them stops, names the
// file, and commits nothing; what does not need them goes on; put back, the table is whole again.
import assert from 'node:assert/strict';
import { readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { VarveError } from '../../src/errors.ts';
import { fromFileUri } from '../../src/sinks/parquet/store-local.ts';
import { startPostgres } from '../support/postgres.ts';
import { assertMended, setStage, statusOf, UNTIL } from '../support/stage.ts';
import { changeAt, holdsChanges, TableBench, TOPIC_ID } from '../support/table-bench.ts';
import { readTable } from '../support/table-rows.ts';

type Damage = (bytes: Buffer) => Buffer | null;

const flip = (bytes: Buffer, at: number): Buffer => {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ 0xff;
  return changed;
};

const DAMAGES: Readonly<Record<string, Damage>> = {
  deleted: () => null,
  empty: () => Buffer.alloc(0),
  'cut short': (bytes) => bytes.subarray(0, bytes.length >> 1),
  'of another kind': () => Buffer.from('id,a,b\n1,2,3\n'),
  'with a corrupt footer': (bytes) => {
    const changed = Buffer.from(bytes);
    return changed.fill(0xff, bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8), bytes.length - 8);
  },
  'with a footer of a wrong length': (bytes) => flip(bytes, bytes.length - 7),
  'with a byte changed in its rows': (bytes) => flip(bytes, 30),
  'with bytes at its end': (bytes) => Buffer.concat([bytes, Buffer.from('more')]),
};

/** The newest file of a kind that the next merge needs: one whose rows stand, or that says which do not. */
const fileOf = async (bench: TableBench, content: string): Promise<string> => {
  const { files } = await readTable(bench.location, 't');
  const found = files.findLast((file) => file.content === content && file.partition[0] === true);
  assert.ok(found, `the table has no ${content}`);
  return fromFileUri(found.path);
};

for (const content of ['data', 'position_deletes']) {
  test(`a file of ${content} that is damaged, in any way, stops the fold and is named`, async () => {
    await using bench = await TableBench.make();
    await bench.commit(Array.from({ length: 7 }, (_, at) => changeAt(1 + at)));
    for (const n of [8, 9]) await bench.commit([changeAt(n)]);
    const path = await fileOf(bench, content);
    const whole = await readFile(path);
    // All keys, so that every file of what stands is touched.
    const next = bench.batch(Array.from({ length: 7 }, (_, at) => changeAt(10 + at)));
    let at = Date.now();
    const replace = async (bytes: Buffer): Promise<void> => {
      await writeFile(path, bytes);
      // The engine knows a file again by its time, to the second.
      at += 2000;
      await utimes(path, at / 1000, at / 1000);
    };
    for (const [name, damage] of Object.entries(DAMAGES)) {
      const damaged = damage(whole);
      if (damaged === null) await rm(path);
      else await replace(damaged);
      await bench.open();
      const thrown: unknown = await bench.table
        .commit([next], bench.context, TOPIC_ID)
        .catch((error: unknown) => error);
      assert.ok(thrown instanceof VarveError, `${name}: it was committed`);
      assert.equal(thrown.kind, 'table_corrupt', `${name}: ${thrown.message}`);
      assert.ok(thrown.message.includes(path), thrown.message);
      assert.deepEqual([...bench.table.offsets()], [[0, 9n]], `${name}: something was committed`);
      await replace(whole);
    }
    await bench.open();
    await bench.table.commit([next], bench.context, TOPIC_ID);
    await holdsChanges(bench, 16);
  });
}

test('the whole pipeline is FAILED with the file; questions name it too; put back, it goes on', async () => {
  await using server = await startPostgres({ major: 17 });
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const { files } = await readTable(stage.tables, 'items');
  const path = fromFileUri(files[0]?.path ?? assert.fail('the table has no file'));
  const whole = await readFile(path);
  await writeFile(path, whole.subarray(0, whole.length - 100));
  await stage.sql("update items set v = 'later' where id <= 3");
  const { stderr } = await stage.pipeline.run(UNTIL, 1);
  const { state, reason, sentence } = await statusOf(stage.pipeline, 1);
  assert.deepEqual([state, reason], ['failed', 'table_corrupt'], stderr);
  assert.ok(String(sentence).includes(path), String(sentence));
  const asked = await stage.pipeline.run(['asof', 'pipeline.yaml', 'items'], 1);
  assert.ok(asked.stderr.includes(path), asked.stderr);
  await writeFile(path, whole);
  await assertMended(stage);
});
