// Rows that go without delete files: the files that had them are written again, the others stay, and what
// delete files an earlier way of writing has left go at the first commit.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { formatOrder } from '../../../src/change/order.ts';
import type { TableMode } from '../../../src/sinks/parquet/columns-layout.ts';
import { EngineTable, SharedEngine } from './engine-table.ts';
import type { EventRecord } from './event-batches.ts';

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

const change = (op: EventRecord['op'], at: number, id: number): EventRecord => ({
  op,
  order: formatOrder({ epoch: 1, position: BigInt(at), phase: 1, ordinal: id }),
  ts: BigInt(at) * 1_000_000n,
  key: { id: BigInt(id) },
  row: { id: BigInt(id), a: { int: at }, b: null },
});
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at);
const paths = (table: EngineTable): string[] => [...table.files.keys()];
const standing = async (table: EngineTable): Promise<string[]> =>
  (await table.rows('id, _order')).map(({ id, a, is_current: now = true }) => `${id} ${a} ${now}`);

describe('copy on write', () => {
  for (const mode of ['scd2', 'latest'] satisfies TableMode[])
    it(`writes the files again that lose rows, and no others (${mode})`, async () => {
      using table = new EngineTable({ engine, mode, write: 'copy_on_write' });
      using other = new EngineTable({ engine, mode });
      const batches = [
        range(1, 5).map((id) => change('c', 1, id)),
        range(11, 15).map((id) => change('c', 2, id)),
        [change('u', 3, 1), change('d', 3, 2), change('u', 3, 4)],
        [change('u', 4, 1)],
        [{ op: 't', order: change('u', 5, 0).order, ts: 5_000_000n } as const],
        [change('c', 6, 1)],
      ];
      let untouched = '';
      for (const [at, batch] of batches.entries()) {
        await table.merge(batch);
        await other.merge(batch);
        assert.deepEqual(table.tableFiles().deletes, []);
        assert.deepEqual(await standing(table), await standing(other));
        if (at === 1) untouched = paths(table)[1] ?? '';
        if (at === 3)
          assert.ok(paths(table).includes(untouched), 'a file that lost nothing was written again');
      }
    });

  it('clears away the delete files of the other way, and goes back', async () => {
    using table = new EngineTable({ engine, mode: 'latest' });
    await table.merge(range(1, 5).map((id) => change('c', 1, id)));
    await table.merge([change('u', 2, 1)]);
    assert.equal(table.tableFiles().deletes.length, 1);
    const before = await standing(table);
    table.write = 'copy_on_write';
    await table.merge([change('c', 3, 9)]);
    assert.equal(table.tableFiles().deletes.length, 0);
    assert.deepEqual(await standing(table), [...before, '9 3 true']);
    table.write = 'merge_on_read';
    await table.merge([change('d', 4, 9), change('d', 4, 3)]);
    assert.equal(table.tableFiles().deletes.length, 1);
    assert.deepEqual(await standing(table), ['1 2 true', '2 1 true', '4 1 true', '5 1 true']);
  });

  it('keeps the rows of a file in their order', async () => {
    using table = new EngineTable({ engine, mode: 'latest', write: 'copy_on_write' });
    await table.merge(range(1, 3000).map((id) => change('c', 1, id)));
    const { added } = await table.merge([change('d', 2, 1500)]);
    const [file] = added;
    assert.deepEqual([added.length, file?.file.records], [1, 2999]);
    const ids = (await table.rows('filename, file_row_number')).map(({ id }) => Number(id));
    assert.deepEqual(
      ids,
      range(1, 3000).filter((id) => id !== 1500),
    );
  });
});
