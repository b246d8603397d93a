// Owns what every catalog must do, as commits and loads use it. Run it against each implementation; `open`
// gives a place for one table that is not there yet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorKind, VarveError } from '../../src/errors.ts';
import { type Change, commit, createTable } from '../../src/sinks/parquet/iceberg/commit.ts';
import {
  liveFiles,
  loadTable,
  summaryValue,
  type TableIo,
  type TableState,
} from '../../src/sinks/parquet/iceberg/table-state.ts';
import type { DataFile } from '../../src/sinks/parquet/iceberg-type.ts';
import { append, COLUMNS, dataFile, overwrite, PARTITION } from '../sinks/iceberg/table-world.ts';

type CatalogPlace = {
  /** Of one writer, and of another one beside it. */
  io: TableIo;
  other: TableIo;
  /** `<place>/<namespace>/<table>`, of a table that nobody has made. */
  at: string;
  /** False: the service keeps older snapshots in a history of its own. */
  keepsSnapshots: boolean;
} & AsyncDisposable;

export const failsAs = (expected: ErrorKind) => (thrown: unknown) => {
  assert.ok(thrown instanceof VarveError, String(thrown));
  assert.equal(thrown.kind, expected, thrown.message);
  return true;
};

export const makeTable = (io: TableIo, at: string): Promise<TableState> =>
  createTable(io, at, {
    columns: COLUMNS,
    partition: PARTITION,
    sort: [1],
    properties: { 'varve.layout': '1', 'varve.columns': '{"1":1}' },
  });

export const load = async (io: TableIo, at: string): Promise<TableState> => {
  const state = await loadTable(io, at);
  assert.ok(state !== null, 'the table is gone');
  return state;
};

const paths = async (io: TableIo, state: TableState): Promise<string[]> =>
  [...(await liveFiles(io.store, state)).keys()].sort();

const listed = async ({ store }: TableIo, prefix: string): Promise<string[]> => {
  const uris: string[] = [];
  for await (const { uri } of store.list(prefix)) uris.push(uri);
  return uris;
};

let files = 0;

/** Somewhere below the table; nobody looks into it. */
export const fileOf = ({ location }: TableState, more: Partial<DataFile> = {}): DataFile =>
  dataFile({ path: `${location}/data/one-${++files}.parquet`, ...more });

export const catalogContract = (name: string, open: () => Promise<CatalogPlace>): void => {
  const each = (what: string, run: (place: CatalogPlace) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      await using place = await open();
      await run(place);
    });
  };

  each('a table is made with the ids that were asked for, and found by whoever looks', async (place) => {
    const { io, other, at } = place;
    assert.equal(await loadTable(io, at), null);
    const columns = [
      ...COLUMNS,
      listColumn(5),
      { id: 7, name: 'last', required: false, type: 'long' as const },
    ];
    const asked = { columns, partition: PARTITION, sort: [1], properties: { 'varve.layout': '1' } };
    const made = await createTable(io, at, asked);
    const read = await load(other, at);
    assert.equal(read.uuid, made.uuid);
    assert.equal(read.snapshot, null);
    assert.deepEqual(read.fields, made.fields);
    assert.deepEqual(
      read.fields.map(({ id, name: column }) => [id, column]),
      columns.map(({ id, name: column }) => [id, column]),
    );
    assert.deepEqual(read.spec, made.spec);
    assert.equal(read.properties['varve.layout'], '1');
    assert.equal(read.location, made.location);
  });

  each('a table is made once', async ({ io, other, at }) => {
    const made = await makeTable(io, at);
    await assert.rejects(makeTable(other, at), failsAs('commit_conflict'));
    assert.equal((await load(other, at)).uuid, made.uuid);
  });

  each('rows and keys of a commit are there for the next reader', async (place) => {
    const { io, other, at } = place;
    let state = await makeTable(io, at);
    const [one, two] = [fileOf(state), fileOf(state)];
    state = await commit(io, state, append([one], { 'varve.offsets': '{"0":"1"}' }));
    const gone = (await liveFiles(io.store, state)).get(one.path);
    assert.ok(gone !== undefined);
    state = await commit(io, state, overwrite([two], [gone], { 'varve.offsets': '{"0":"2"}' }));
    const read = await load(other, at);
    assert.deepEqual(await paths(other, read), [two.path]);
    assert.deepEqual(await paths(io, state), [two.path]);
    assert.equal(summaryValue(read, 'varve.offsets'), '{"0":"2"}');
    assert.equal(read.snapshot?.['sequence-number'], 2);
    assert.equal(read.metadata['last-sequence-number'], 2);
    assert.equal(read.metadata.snapshots.length, place.keepsSnapshots ? 2 : 1);
  });

  each('of two commits on one version one is made, and nothing of the other is left', async (place) => {
    const { io, other, at } = place;
    const base = await commit(io, await makeTable(io, at), append([]));
    const [mine, theirs] = [fileOf(base), fileOf(base)];
    const won = await commit(io, base, append([mine]));
    const before = await listed(io, `${won.location}/metadata/snap-`);
    await assert.rejects(commit(other, base, append([theirs])), failsAs('commit_conflict'));
    assert.deepEqual(await listed(io, `${won.location}/metadata/snap-`), before);
    const again = await commit(other, await load(other, at), append([theirs]));
    assert.deepEqual(await paths(io, again), [mine.path, theirs.path].sort());
    assert.deepEqual(await paths(io, await load(io, at)), [mine.path, theirs.path].sort());
  });

  each('writers at once: one wins each time, and all that was said to be done is there', async (place) => {
    const { io, other, at } = place;
    await makeTable(io, at);
    const done: string[] = [];
    for (let round = 0; round < 8; round++) {
      const base = await load(io, at);
      const tries = await Promise.allSettled(
        [io, other, io].map(async (writer) => {
          const file = fileOf(base);
          await commit(writer, base, append([file]));
          return file.path;
        }),
      );
      const won = tries.filter((one) => one.status === 'fulfilled').map(({ value }) => value);
      assert.equal(won.length, 1);
      for (const one of tries) if (one.status === 'rejected') failsAs('commit_conflict')(one.reason);
      done.push(...won);
    }
    assert.deepEqual(await paths(io, await load(io, at)), done.sort());
  });

  each('columns come, go and come back, and keep their ids', async ({ io, other, at }) => {
    let state = await commit(io, await makeTable(io, at), append([]));
    const wider = [...COLUMNS, { id: 5, name: 'more', required: false, type: 'string' as const }];
    state = await commit(io, state, { columns: wider });
    state = await commit(io, state, { columns: COLUMNS });
    assert.deepEqual(state.fields, COLUMNS);
    state = await commit(io, state, append([fileOf(state)]));
    state = await commit(io, state, {
      columns: [...COLUMNS, { id: null, name: 'more', required: false, type: 'long' }],
      ...append([fileOf(state)]),
    });
    const read = await load(other, at);
    assert.deepEqual(read.fields, state.fields);
    assert.deepEqual(read.fields.at(-1), { id: 6, name: 'more', required: false, type: 'long' });
    assert.equal(read.metadata['last-column-id'], 6);
    assert.equal(read.snapshot?.['schema-id'], read.metadata['current-schema-id']);
  });

  each('files of another partitioning and sorting lie beside the old ones', async ({ io, other, at }) => {
    let state = await makeTable(io, at);
    const old = fileOf(state);
    state = await commit(io, state, append([old]));
    const partition = [{ sourceId: 4, transform: 'identity' }];
    state = await commit(io, state, { partition, sort: [2] });
    const { specId } = state.spec;
    const young = fileOf(state, { specId, partition: [true] });
    state = await commit(io, state, append([young]));
    const read = await load(other, at);
    assert.deepEqual(read.spec, state.spec);
    assert.deepEqual(read.specs, state.specs);
    assert.equal(read.metadata['default-sort-order-id'], state.metadata['default-sort-order-id']);
    assert.deepEqual(await paths(other, read), [old.path, young.path].sort());
  });

  each('properties come and go, and a commit under way does not overlook it', async ({ io, other, at }) => {
    const made = await makeTable(io, at);
    const base = await commit(io, made, append([fileOf(made)], { 'varve.offsets': '{"0":"7"}' }));
    const paused = await commit(other, base, {
      properties: { 'varve.paused': 'now', 'varve.columns': null },
    });
    await assert.rejects(commit(io, base, append([fileOf(base)])), failsAs('commit_conflict'));
    const read = await load(io, at);
    assert.equal(read.properties['varve.paused'], 'now');
    assert.equal(read.properties['varve.columns'], undefined);
    assert.equal(read.properties['varve.layout'], '1');
    assert.equal(summaryValue(read, 'varve.offsets'), '{"0":"7"}');
    assert.deepEqual(await paths(io, read), await paths(other, paused));
  });

  each('snapshots that expire are gone', async ({ io, other, at }) => {
    let state = await makeTable(io, at);
    const expire = { maxAgeMs: 1e12, minKeep: 1, maxKeep: 3 };
    for (let count = 0; count < 6; count++) {
      const change: Change = { ...append([fileOf(state)], { 'varve.offsets': '{}' }), expire };
      state = await commit(io, state, change);
    }
    const read = await load(other, at);
    assert.ok(read.metadata.snapshots.length <= 3);
    assert.equal((await paths(other, read)).length, 6);
    state = await commit(other, read, { expire: { ...expire, maxKeep: 1 } });
    assert.deepEqual(
      (await load(io, at)).metadata.snapshots.map((one) => BigInt(one['snapshot-id'])),
      [BigInt(state.snapshot?.['snapshot-id'] ?? 0)],
    );
  });

  each('a table of another name is another table', async ({ io, at }) => {
    const [one, two] = [await makeTable(io, at), await makeTable(io, `${at}_2`)];
    await commit(io, one, append([fileOf(one)]));
    assert.equal((await load(io, `${at}_2`)).uuid, two.uuid);
    assert.equal((await load(io, `${at}_2`)).snapshot, null);
  });
};

const listColumn = (id: number) => ({
  ...{ id, name: '_incomplete', required: false },
  type: { type: 'list' as const, 'element-id': id + 1, element: 'string' as const, 'element-required': true },
});
