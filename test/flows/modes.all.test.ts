// Tables in every mode and way of writing, read by engines that know nothing of Varve: now, after their files
// were merged, and as an older commit left them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TableMode } from '../../src/sinks/parquet/columns-layout.ts';
import type { WriteWay } from '../../src/sinks/parquet/engine/protocol.ts';
import { openTableReader } from '../support/readers.ts';
import { orderAt, TableBench, upkeep, upsert } from '../support/table-bench.ts';
import { readTable, rowTexts } from '../support/table-rows.ts';

const MODES: readonly TableMode[] = ['scd2', 'latest', 'append'];
const WAYS: readonly WriteWay[] = ['merge_on_read', 'copy_on_write'];
const COLUMNS = ['id', 'a', '_op', '_order'];

/** Keys 0 to 4; every seventh change is a delete. */
const changeAt = (n: number) => {
  const said = upsert(n, n % 5, n);
  return n % 7 === 0 ? ({ ...said, op: 'd' } as const) : said;
};

const lineOf = (text: string): string => {
  const row = JSON.parse(text) as Record<string, unknown>;
  return COLUMNS.map((name) => String(row[name])).join(' ');
};

test('PyIceberg and DuckDB read every mode and way, now and as of an older commit', async () => {
  await using pyiceberg = await openTableReader('pyiceberg');
  await using duckdb = await openTableReader('duckdb');
  for (const mode of MODES)
    for (const write of WAYS) {
      await using bench = await TableBench.make();
      Object.assign(bench, { mode, write });
      await bench.open();
      const moments: { snapshotId: bigint; rows: string[] }[] = [];
      for (let n = 1; n <= 12; n++) {
        await bench.commit([changeAt(n * 2 - 1), changeAt(n * 2)]);
        if (n % 4 === 0) await upkeep(bench);
        const table = await readTable(bench.location, 't');
        const snapshotId = BigInt(table.state.snapshot?.['snapshot-id'] ?? -1);
        moments.push({ snapshotId, rows: rowTexts(table, COLUMNS).sort() });
      }
      const { metadata, files, rows } = await readTable(bench.location, 't');
      if (write === 'copy_on_write') assert.ok(files.every(({ content }) => content === 'data'));
      assert.equal(rows.length, { scd2: 21, latest: 4, append: 24 }[mode], `${mode}, ${write}`);
      assert.equal(rows.at(-1)?._order, orderAt(24));
      for (const reader of [pyiceberg, duckdb])
        for (const moment of moments.slice(-5)) {
          const found = await reader.read({ metadata, snapshotId: moment.snapshotId });
          assert.deepEqual(found.map(lineOf).sort(), moment.rows, `${mode}, ${write}`);
        }
    }
});
