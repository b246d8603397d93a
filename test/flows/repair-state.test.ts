// A topic directory that is gone, damaged, another pipeline's or another one than the table was folded from
// stops the pipeline. Nothing is guessed, nothing of somebody else's is touched.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgres } from '../support/postgres.ts';
import {
  amend,
  assertMended,
  assertRefuses,
  assertSameRows,
  RUN,
  readMarks,
  type Stage,
  setStage,
  statusOf,
  UNTIL,
} from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const topicOf = ({ pipeline }: Stage): string => join(pipeline.directory, 'topic');
const RESET = ['reset', 'pipeline.yaml', '--yes'];

/** Every file below, with a hash of its bytes. */
const contents = async (folder: string): Promise<Map<string, string>> => {
  const found = new Map<string, string>();
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name);
    if ((await stat(path)).isFile())
      found.set(
        name,
        createHash('sha256')
          .update(await readFile(path))
          .digest('hex'),
      );
  }
  return found;
};

test('a topic directory that is gone: state_lost, and reset starts again beside the old tables', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await rm(topicOf(stage), { recursive: true });
  await assertRefuses(stage, { kind: 'state_lost', says: [stage.name, /varve reset \S+/] });
  await stage.pipeline.run(RESET);
  const made = await stage.sql(
    `select slot_name::text from pg_replication_slots where slot_name = '${stage.slot}'
     union all select pubname::text from pg_publication where pubname = '${stage.slot}'`,
  );
  assert.deepEqual(made, [], 'reset leaves nothing of ours in the source');
  // The old tables were folded from a topic that is no more.
  await assertRefusesFold(stage);
  await rename(stage.tables, `${stage.tables}.old`);
  await assertMended(stage);
});

/** The topic begins anew, the table does not follow it. */
const assertRefusesFold = async (stage: Stage): Promise<void> => {
  const { versions } = await readMarks(stage);
  const { stderr } = await stage.pipeline.run(RUN, 1);
  const { reason, sentence } = await statusOf(stage.pipeline, 1);
  assert.equal(reason, 'topic_changed');
  for (const text of [stderr, String(sentence)])
    assert.match(text, /folded from \([0-9a-f-]{36} then, [0-9a-f-]{36} now\)/);
  assert.deepEqual((await readMarks(stage)).versions, versions, 'the table was written');
};

test('another topic directory than the one that the table was folded from: topic_changed', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await rename(topicOf(stage), `${topicOf(stage)}.away`);
  await stage.pipeline.run(RESET);
  await assertRefusesFold(stage);
  await rename(stage.tables, `${stage.tables}.old`);
  await assertMended(stage);
});

test('a bit that flipped in the topic directory: state_corrupt, and reset is allowed', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  const [segment = ''] = (await readdir(topicOf(stage))).filter((name) => name.endsWith('.segment'));
  const file = await open(join(topicOf(stage), segment), 'r+');
  const at = Math.floor((await file.stat()).size / 2);
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 0x10;
  await file.write(byte, 0, 1, at);
  await file.close();
  const before = await contents(stage.pipeline.directory);
  for (const command of [RUN, ['status', 'pipeline.yaml']]) {
    const { stderr } = await stage.pipeline.run([...command, '--json'].slice(0, -1), 1);
    assert.match(stderr, /damaged/);
    assert.match(stderr, /varve reset/);
  }
  const { stdout } = await stage.pipeline.run([...RUN, '--json'], 1);
  assert.equal(JSON.parse(stdout).error, 'state_corrupt');
  assert.deepEqual(await contents(stage.pipeline.directory), before, 'something was written');
  await stage.pipeline.run(RESET);
  await rename(stage.tables, `${stage.tables}.old`);
  await assertMended(stage);
});

test("another pipeline's topic directory: state_foreign, for every command that would write", async () => {
  await using owner = await setStage(server);
  await owner.pipeline.run(UNTIL);
  await using stage = await setStage(server);
  await amend(stage.pipeline, 'path: ./topic', `path: ${topicOf(owner)}`);
  const before = await contents(owner.pipeline.directory);
  const commands = [
    RUN,
    RESET,
    ['snapshot', 'pipeline.yaml', '--all'],
    ['resume', 'pipeline.yaml', '--accept-gap'],
  ];
  for (const command of commands) {
    const { stderr } = await stage.pipeline.run(command, 1);
    for (const name of [owner.name, stage.name]) assert.ok(stderr.includes(name), stderr);
    assert.deepEqual(await contents(owner.pipeline.directory), before, `${command[0]} wrote there`);
  }
  const { stderr } = await stage.pipeline.run(['status', 'pipeline.yaml'], 1);
  assert.ok(stderr.includes(owner.name), stderr);
  assert.equal((await statusOf(owner.pipeline)).state, 'stopped');
  await amend(stage.pipeline, `path: ${topicOf(owner)}`, 'path: ./topic');
  await assertMended(stage);
  await assertMended(owner);
});

test('reset deletes a topic, and nothing that is none', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await cp(topicOf(stage), join(stage.pipeline.directory, 'mixed'), { recursive: true });
  const precious = join(stage.pipeline.directory, 'mixed/precious.txt');
  await writeFile(precious, 'mine');
  await amend(stage.pipeline, 'path: ./topic', 'path: ./mixed');
  const { stderr } = await stage.pipeline.run(RESET, 1);
  assert.match(stderr, /precious\.txt/);
  assert.equal(await readFile(precious, 'utf8'), 'mine');
  const folder = join(stage.pipeline.directory, 'home');
  await mkdir(folder);
  await writeFile(join(folder, 'letter'), 'mine');
  await amend(stage.pipeline, 'path: ./mixed', 'path: ./home');
  await stage.pipeline.run(RESET, 1);
  assert.equal(await readFile(join(folder, 'letter'), 'utf8'), 'mine');
  await amend(stage.pipeline, 'path: ./home', 'path: ./topic');
  await stage.pipeline.run(RESET);
  await assert.rejects(stat(topicOf(stage)));
  await assertSameRows(stage);
});
