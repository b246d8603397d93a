// Time travel from PostgreSQL to the answer: moments, several tables at one cut, a row's life over its keys,
// differences, and where a version came from.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInProcess } from '../support/pipeline-in-process.ts';
import { startPostgres } from '../support/postgres.ts';
import { type Stage, setStage } from '../support/stage.ts';
import { readTable } from '../support/table-rows.ts';
import { askers, type Json, setTravelled, type Travelled } from '../support/travelled.ts';

const server = await startPostgres({ major: 17 });
const travelled = await setTravelled(server);
test.after(async () => {
  await travelled[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});
const { ask, tell, times } = travelled;
const [begun = '', , , moved = '', last = ''] = times;

const snapshotsOf = async (stage: Pick<Travelled, 'tables'>, table: string): Promise<string[]> =>
  (await readTable(stage.tables, table)).state.metadata.snapshots.map((one) => String(one['snapshot-id']));

const ids = (rows: readonly Json[]): unknown[] => rows.map(({ id }) => id);
const inner = (row: Json | undefined, name: string): Json => row?.[name] as Json;

test('asof: a time, an order and a snapshot show what was there then', async () => {
  assert.deepEqual(ids(await ask(['asof', 'customers', '--at', begun])), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(ids(await ask(['asof', 'customers', '--at', moved])), [1, 2, 3, 4, 5, 6, 8, 70]);
  const now = await ask(['asof', 'customers']);
  assert.deepEqual(ids(now), [2, 3, 4, 5, 6, 7, 8, 70]);
  const [first = ''] = await snapshotsOf(travelled, 'customers');
  assert.deepEqual(ids(await ask(['asof', 'customers', '--snapshot', first])), [1, 2, 3, 4, 5, 6, 7, 8]);
  const order = String(now.find(({ id }) => id === 3)?._order);
  assert.deepEqual(ids(await ask(['asof', 'customers', '--at', order])), [1, 2, 3, 4, 5, 6, 8, 70]);
});

test('several tables: one cut that all have, and doubt where there is none', async () => {
  const [head, ...rows] = await ask(['asof', 'customers', 'orders']);
  assert.deepEqual([head?.one_moment, head?.doubt], [true, null]);
  assert.deepEqual(head?.tables, ['public.customers', 'public.orders']);
  assert.equal(rows.filter(({ table }) => table === 'public.orders').length, 3);
  assert.equal(rows.filter(({ table }) => table === 'public.customers').length, 8);
  const [later] = await ask(['asof', 'customers', 'orders', '--at', last]);
  assert.equal(later?.one_moment, false);
  assert.match(String(later?.doubt), /hold everything up to 0000/);
  await assert.rejects(tell(['asof', 'customers', 'orders', '--snapshot', '1']), /is one table's own/);
});

test('history: what changed, gaps, and the row over its keys, both ways', async () => {
  for (const key of ['7', '70']) {
    const steps = (await ask(['history', 'customers', key])).filter(({ life }) => life === 1);
    assert.deepEqual(
      steps.map((step) => [step.kind, inner(step, 'row').id, inner(step, 'row')._op, step.changed]),
      [
        ['version', 7, 'r', null],
        ['version', 7, 'u', ['email']],
        ['version', 7, 'u', ['name', 'amount']],
        ['version', 70, 'c', ['id']],
        ['version', 70, 'u', ['name']],
      ],
      key,
    );
    assert.deepEqual(steps[3]?.previous_key, { id: 7 });
  }
  const second = (await ask(['history', 'customers', '7'])).filter(({ life }) => life === 2);
  assert.deepEqual(
    second.map((step) => inner(step, 'row').name),
    ['Another'],
  );
  const back = await ask(['history', 'customers', '3']);
  assert.deepEqual(
    back.map(({ kind, closed_by }) => [kind, closed_by ?? null]),
    [
      ['version', null],
      ['gap', 'd'],
      ['version', null],
    ],
  );
  assert.ok(Number(back[1]?.lasted_us) > 0);
  const { stdout } = await tell(['history', 'customers', '3']);
  const [header = '', ...lines] = stdout.trimEnd().split('\n');
  assert.match(header, /^valid_from +for +what +tx +id +name +email +amount$/);
  assert.match(lines[1] ?? '', /Z +\S.* \(deleted\)$/);
  assert.match(lines[2] ?? '', / so far +inserted +\d+ +3 +Back +0\.00$/);
});

test('history --explain: bounds of the key keep other files closed', async () => {
  const lines = await ask(['history', 'customers', '3', '--explain']);
  const { files, opened } = inner(lines.at(-1), 'explain') as { files: number; opened: number };
  assert.ok(opened < files && opened > 0, `${opened} of ${files}`);
});

test('diff: counts first, then rows with what changed; both directions; an exit code', async () => {
  const [counts, ...rows] = await ask(['diff', 'customers', '--from', begun, '--to', last]);
  assert.deepEqual([counts?.added, counts?.removed, counts?.changed], [1, 1, 2]);
  assert.deepEqual(
    rows.map(({ kind, key }) => [kind, (key as Json).id]),
    [
      ['removed', 1],
      ['changed', 3],
      ['changed', 7],
      ['added', 70],
    ],
  );
  assert.deepEqual(rows[1]?.columns, {
    name: { from: 'Name 3', to: 'Back' },
    email: { from: 'mail3@x.org', to: null },
    amount: { from: '4.50', to: '0.00' },
  });
  const [back] = await ask(['diff', 'customers', '--from', last, '--to', begun]);
  assert.deepEqual([back?.added, back?.removed, back?.changed], [1, 1, 2]);
  const snapshots = await snapshotsOf(travelled, 'customers');
  const between = ['diff', 'customers', '--from', snapshots[0] ?? '', '--to', snapshots.at(-1) ?? ''];
  const [same] = await ask(between);
  assert.deepEqual([same?.added, same?.removed, same?.changed], [1, 1, 2]);
  const where = ['diff', 'customers', '--from', begun, '--where', "name = 'Back'", '--exit-code'];
  assert.equal((await ask(where, 1)).length, 2);
  assert.equal((await ask(['diff', 'customers', '--from', 'now', '--exit-code'])).length, 1);
  const { stdout } = await tell(['diff', 'customers', '--from', begun]);
  assert.match(
    stdout,
    /1 added, 1 removed, 2 changed\n- id=1 {2}name=Name 1 .*\n~ id=3 {2}name: Name 3 -> Back/,
  );
});

test('why: transaction, place in the topic, commit and file; what is gone is said to be gone', async () => {
  const [found] = await ask(['why', 'customers', '7', '--at', times[1] ?? '']);
  const topic = inner(found, 'topic');
  assert.deepEqual([topic.known, topic.partition, topic.op], [true, 0, 'u']);
  const tail = await ask(['tail', 'customers']);
  const row = inner(found, 'row');
  assert.equal(tail.find(({ offset }) => offset === topic.offset)?.order, row._order);
  assert.equal(String(inner(found, 'source').txId), row._tx);
  const snapshots = await snapshotsOf(travelled, 'customers');
  assert.equal(inner(found, 'commit').snapshot_id, snapshots[1], 'the second commit folded the first step');
  const ended = inner(found, 'ended');
  assert.equal(inner(ended, 'commit').snapshot_id, snapshots[2]);
  const [rekeyed] = await ask(['why', 'customers', '7', '--at', times[2] ?? '']);
  assert.equal(inner(inner(rekeyed, 'ended'), 'topic').op, 'd', 'the first half of a changed key');
  const { stdout } = await tell(['why', 'customers', '70']);
  assert.match(stdout, /^topic +\S+\.public\.customers, partition 0, offset \d+$/m);
  assert.match(stdout, /^folded by +snapshot \d+ \(\w+\) at .*, .* after the source$/m);
  for (const [words, says] of [
    [['4711'], /is not in the table, and never was/],
    [['7', '--at', '2001-01-01'], /No version of .* stood at 2001-01-01T00:00:00Z. The first one begins at/],
    [['7', '--order', 'x'], /--order is an ORDER/],
    [['x'], /column id is of type int: "x" is none/],
  ] as const)
    await assert.rejects(tell(['why', 'customers', ...words]), says);
});

const KEYED = `create table keyed (b boolean, i bigint, n numeric(9,3), d date, t time, ts timestamp,
    tz timestamptz, u uuid, y bytea, f double precision, s text, v int,
    primary key (b, i, n, d, t, ts, tz, u, y, f, s));
  insert into keyed values (true, -5, -1.25, '2024-02-29', '12:00:00.5', '2024-02-29 12:00:00.000001',
    '2024-02-29 12:00:00+02', '0a0b0c0d-0000-4000-8000-000000000001', '\\x00ff', 0.1, $$it's "so"$$, 1)`;

test('keys of every type find their row, and as-of shows the columns of its time', async () => {
  await using stage = await setStage(server, { schema: KEYED });
  await runInProcess(stage.pipeline.file);
  const key = ['true', '-5', '-1.25', '2024-02-29', '12:00:00.5', '2024-02-29T12:00:00.000001'];
  key.push(
    '2024-02-29T10:00:00Z',
    '0A0B0C0D00004000800000000000 0001'.replace(' ', ''),
    '\\x00ff',
    '0.1',
    `it's "so"`,
  );
  const { ask: asked } = askers(stage);
  const lines = await asked(['history', 'keyed', '--', ...key]);
  assert.deepEqual(
    lines.map((line) => inner(line, 'row').v),
    [1],
  );
  await stage.sql(
    'alter table keyed add column extra text; alter table keyed rename column v to w; update keyed set w = 2',
  );
  await runInProcess(stage.pipeline.file);
  const { rows } = await readTable(stage.tables, 'keyed');
  const asOf = async (words: readonly string[]): Promise<Json> =>
    (await asked(['asof', 'keyed', ...words]))[0] ?? {};
  const old = `${rows[0]?.valid_from?.replace(' ', 'T')}Z`;
  for (const at of [old, String(rows[0]?._order)]) {
    const then = await asOf(['--at', at]);
    assert.deepEqual([then.v, 'w' in then, 'extra' in then], [1, false, false], at);
  }
  const now = await asOf([]);
  assert.deepEqual([now.w, 'v' in now, now.extra], [2, false, null]);
});

const NOISE = "(select string_agg(md5(random()::text), '') from generate_series(1, 200))";

/** Updates row 1 of `items` so often, each folded by a commit of its own. */
const updateOften = async (stage: Stage, times: number): Promise<void> => {
  for (let n = 1; n <= times; n++) {
    await stage.sql(`update items set v = ${n} || ${NOISE} where id = 1`);
    await runInProcess(stage.pipeline.file);
  }
};

test('why: what retention and expiry took away is said to be not known any more', async () => {
  await using short = await setStage(server, { topic: 'path: ./topic\nretention_gb: 0.00002' });
  await runInProcess(short.pipeline.file);
  await updateOften(short, 6);
  const [gone] = await askers(short).ask(['why', 'items', '2']);
  assert.match(
    String(inner(gone, 'topic').why),
    /not known any more: the topic keeps partition 0 from offset \d+/,
  );
  assert.equal(inner(gone, 'commit').known, false);
  await using few = await setStage(server, { extra: '  keep: {snapshots: 3, age_ms: 60000}' });
  await runInProcess(few.pipeline.file);
  await updateOften(few, 4);
  const { ask: asked } = askers(few);
  const [first] = await asked(['why', 'items', '2']);
  assert.equal(inner(first, 'topic').known, true);
  assert.match(String(inner(first, 'commit').why), /in the oldest snapshot that is kept already, \d+ of /);
  const [newest] = await asked(['why', 'items', '1']);
  assert.equal(inner(newest, 'commit').known, true);
});
