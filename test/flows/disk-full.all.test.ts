// Disks that are full, and then are not; that turn read-only; descriptors that run out. What comes right by
// itself is waited for, the rest is named and stops, and nothing that was confirmed is lost.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { limitProcess, onSmallDisk, smallDisk } from '../support/limits.ts';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, type Stage, setStage, UNTIL } from '../support/stage.ts';
import type { Running } from '../support/varve.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

const MEGABYTES = 40;

type OnDisk = { stage: Stage; running: Running; disk: ReturnType<typeof smallDisk> };

/** Runs a pipeline that has its topic or its tables on a small disk, until it streams. */
const onDisk = async (what: 'topic' | 'tables', play: (scene: OnDisk) => Promise<void>): Promise<void> => {
  await using stage = await setStage(server);
  const path = join(stage.pipeline.directory, 'disk');
  await mkdir(path);
  await amend(stage.pipeline, `./${what}`, `./disk/${what}`);
  const running = stage.pipeline.start(RUN, {}, onSmallDisk(path, MEGABYTES));
  await running.saw(/"msg":"streaming"/);
  const moved = what === 'tables' ? { ...stage, tables: join(path, 'tables') } : stage;
  await play({ stage: moved, running, disk: smallDisk(running.child.pid ?? 0, path) });
};

/** As `isFolded`, where the tables are on the disk that only the process sees. */
const isKept = async (disk: OnDisk['disk'], stage: Stage, id: number): Promise<boolean> => {
  await disk.rescue();
  return isFolded(stage, id);
};

/** Values that do not compress, some megabytes of them, and twenty changes of one row. */
const write = async ({ sql }: Stage): Promise<void> => {
  for (let at = 100; at < 120; at++)
    await sql(`insert into items select ${at} * 1000 + n, string_agg(md5((${at} + n * g)::text), '')
      from generate_series(1, 10) n, generate_series(1, 1000) g group by n;
      update items set v = v || '.' where id = 1`);
};

test('a topic on a full disk waits, and goes on when there is room', () =>
  onDisk('topic', async ({ stage, running, disk }) => {
    await disk.fill(1000);
    await write(stage);
    await running.saw(/"kind":"disk_full".*topic/);
    await disk.free();
    await stage.sql("insert into items values (500, 'the last one')");
    await until(() => isFolded(stage, 500));
    await assertSameRows(stage);
    running.kill('SIGTERM');
    assert.equal((await running.finished).code, 0);
  }));

test('tables on a full disk wait, and go on when there is room', () =>
  onDisk('tables', async ({ stage, running, disk }) => {
    await disk.fill(300);
    await write(stage);
    await running.saw(/"kind":"disk_full"/);
    await disk.free();
    await stage.sql("insert into items values (500, 'the last one')");
    await until(() => isKept(disk, stage, 500));
    await assertSameRows(stage);
    running.kill('SIGTERM');
    assert.equal((await running.finished).code, 0);
  }));

/** What it says when it stops. */
const says = async (running: Running, word: RegExp): Promise<void> => {
  const { code, stderr } = await running.finished;
  assert.equal(code, 1, stderr);
  assert.match(stderr.trim().split('\n').at(-1) ?? '', word);
};

test('tables on a disk that turned read-only: it stops and names the place', () =>
  onDisk('tables', async ({ stage, running, disk }) => {
    await until(() => isKept(disk, stage, 1));
    await disk.refuseWrites();
    await stage.sql("insert into items values (500, 'not taken')");
    await says(running, /disk\/tables.*(EROFS|read-only)/i);
  }));

test('no descriptor left: it stops and says so, and the next run completes the table', async () => {
  await using stage = await setStage(server);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"msg":"streaming"/);
  await limitProcess(running.child.pid ?? 0, 'nofile', 24);
  await write(stage);
  await says(running, /EMFILE/);
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
});
