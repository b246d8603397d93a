// varve erase: what is said before, what is refused, what is left and told afterwards; killed in the midst
// and done again.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { codecById } from '../../src/topic/compression.ts';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { readRecords } from '../../src/topic/record-batch.ts';
import { widenBounds } from '../support/erased-table.ts';
import { startPostgres } from '../support/postgres.ts';
import { RUN, type Stage, setStage, UNTIL } from '../support/stage.ts';
import { endOf } from '../support/varve.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const SCHEMA = `create table people (id int primary key, name text, city text);
  insert into people select g, 'Secret Name ' || g, 'City ' || g from generate_series(1, 9) g`;

/** Of uncompressed files every value can be seen in the bytes. */
const stageOfPeople = async (): Promise<Stage> => {
  const stage = await setStage(server, { schema: SCHEMA, extra: '  compression: none\n' });
  await stage.pipeline.run(UNTIL);
  await stage.sql(`update people set city = 'Other City ' || id;
    update people set id = 70 where id = 7; delete from people where id = 5`);
  await stage.pipeline.run(UNTIL);
  return stage;
};

/** Files below the tables whose bytes hold the text. */
const filesWith = async ({ tables }: Stage, text: string): Promise<string[]> => {
  const found: string[] = [];
  for (const entry of await readdir(tables, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = await readFile(join(entry.parentPath, entry.name));
    if (bytes.includes(text)) found.push(entry.name);
  }
  return found;
};

const recordOf = async ({ tables }: Stage): Promise<Record<string, unknown>> => {
  const folder = join(tables, 'public', 'people__varve_erased');
  const [newest = ''] = (await readdir(folder)).sort().reverse();
  return JSON.parse(await readFile(join(folder, newest), 'utf8')) as Record<string, unknown>;
};

const tombstonesIn = async ({ pipeline, name }: Stage): Promise<number> => {
  const feed = await openEmbeddedFeed({ path: join(pipeline.directory, 'topic') });
  const topic = `${name}.public.people`;
  let count = 0;
  const { start } = await feed.ends(topic, 0);
  const { batches } = await feed.read(topic, 0, { from: start, maxBytes: 1 << 30 });
  for (const batch of batches)
    readRecords(
      batch,
      (view) => {
        if (view.valueStart < 0 && view.header('varve.order') === null) count++;
      },
      { codec: codecById },
    );
  await feed.close();
  return count;
};

const history = async ({ pipeline }: Stage, key: string): Promise<string> =>
  (await pipeline.run(['history', 'pipeline.yaml', 'people', key, '--json'])).stdout;

test('a row is gone from every byte of the table, the topic is told, the rest stays', async () => {
  await using stage = await stageOfPeople();
  const { pipeline } = stage;
  assert.ok((await filesWith(stage, 'Secret Name 5')).length > 0);
  const refused = await pipeline.run(['erase', 'pipeline.yaml', 'people', '5'], 2);
  assert.match(refused.stderr, /1 keys, \d rows in all versions go/);
  assert.match(refused.stderr, /deleted at once, without grace/);
  assert.match(refused.stderr, /still holds \d records of it.*they go with retention, from \d{4}-/);
  assert.match(refused.stderr, /Nothing was erased/);
  assert.ok((await filesWith(stage, 'Secret Name 5')).length > 0);

  const words = ['erase', 'pipeline.yaml', 'people', '5', '--yes', '--reason', 'asked for', '--json'];
  const done = JSON.parse((await pipeline.run(words)).stdout) as Record<string, unknown>;
  assert.deepEqual([done.state, done.tombstones, done.rows], ['proved', 1, 1]);
  assert.deepEqual(await filesWith(stage, 'Secret Name 5'), []);
  assert.ok((await filesWith(stage, 'Secret Name 6')).length > 0);
  assert.equal(await tombstonesIn(stage), 1);
  const record = await recordOf(stage);
  assert.deepEqual([record.state, record.reason], ['proved', 'asked for']);
  assert.match(String(record.by), /@/);
  const hash = createHash('sha256').update(String(record.salt)).update('5').digest('hex');
  assert.deepEqual(record.keys, [hash]);
  assert.equal(await history(stage, '5'), '');

  // Who had the key before is forgotten as well where the row goes on under another one.
  const condition = ['--where', "name = 'Secret Name 7' and id = 7"];
  await pipeline.run(['erase', 'pipeline.yaml', 'people', ...condition, '--yes']);
  assert.ok(!(await history(stage, '70')).includes('"_previous_key":"{'));
  await pipeline.run(['erase', 'pipeline.yaml', 'people', '3', '--blank', 'name', '--yes']);
  assert.deepEqual(await filesWith(stage, 'Secret Name 3'), []);
  assert.match(await history(stage, '3'), /City 3/);
  assert.match(await history(stage, '3'), /"_incomplete":\["name"\]/);

  await stage.sql("insert into people values (5, 'New Life', 'here')");
  await pipeline.run(UNTIL);
  assert.match(await history(stage, '5'), /New Life/);
});

test('refused while the daemon runs; killed in the midst, the next one goes to the end', async () => {
  await using stage = await stageOfPeople();
  const { pipeline } = stage;
  const words = ['erase', 'pipeline.yaml', 'people', '5', '--yes'];
  const daemon = pipeline.start(RUN);
  await daemon.saw(/./);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.match((await pipeline.run(words, 2)).stderr, /is running, and may be writing/);
  await endOf(daemon);
  const killed = await pipeline.start(words, { VARVE_CRASH_AT: 'table.commit:after' }).finished;
  assert.notEqual(killed.code, 0);
  assert.deepEqual((await recordOf(stage)).state, 'begun');
  assert.ok((await filesWith(stage, 'Secret Name 5')).length > 0);
  await pipeline.run(words);
  assert.deepEqual(await filesWith(stage, 'Secret Name 5'), []);
  assert.deepEqual((await recordOf(stage)).state, 'proved');
});

test('what the proof finds afterwards is an error, and is in the record', async () => {
  await using stage = await stageOfPeople();
  // Of a row that nobody erases, so that the file stays as it is.
  await widenBounds(stage.tables, { table: 'people', column: 'city', upper: new TextEncoder().encode('Z') });
  const failed = await stage.pipeline.run(['erase', 'pipeline.yaml', 'people', '99', '--yes', '--json'], 1);
  assert.match(failed.stdout, /"error":"erase_incomplete"/);
  assert.match(
    failed.stdout,
    /bounds of column \d+ in .* hold a value that no row has.*Erase again; record:/,
  );
  const { state, proof } = await recordOf(stage);
  assert.equal(state, 'incomplete');
  assert.match(JSON.stringify(proof), /moved\.parquet/);
});
