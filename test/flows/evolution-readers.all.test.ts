// A table whose columns widened, read by engines that know nothing of Varve: every snapshot alike, and no row
// lost to what its files say of columns that were narrower then.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SharedEngine } from '../sinks/engine/engine-table.ts';
import { ensurePyIceberg, openTableReader, type ReaderEngine } from '../support/readers.ts';
import { readTable } from '../support/table-rows.ts';
import { foldWidened, KEYS } from './evolution-widened.ts';

const ENGINES = ['pyiceberg', 'duckdb', 'spark'] as const satisfies readonly ReaderEngine[];

test('every engine reads every snapshot alike, and no filter over widened columns loses a row', async () => {
  await using shared = new SharedEngine();
  const table = await foldWidened(shared);
  const { metadata, state, rows, fields } = await readTable(table.location, 't');
  const names = fields.map(({ name }) => name);
  for (const name of ['zone', 'kind__2', 'gone', 'area__2', 'pk_bucket_4__2'])
    assert.ok(names.includes(name), name);
  const snapshots = state.metadata.snapshots.map((one) => BigInt(one['snapshot-id']));
  const columnsAt = [
    ['pk', 'area', 'ratio', 'price', 'list', 'kind', 'gone'],
    names.slice(0, names.indexOf('valid_from')),
  ];
  const read = new Map<string, readonly string[]>();
  for (const name of ENGINES) {
    await using reader = await openTableReader(name);
    for (const [at, snapshotId] of snapshots.entries()) {
      const columns = [...(columnsAt[Math.min(at, 1)] ?? []), '_order', '_closed_by'];
      const lines = await reader.read({ metadata, snapshotId, columns });
      assert.equal(lines.length, at === 0 ? KEYS : rows.length, `${name} ${at}`);
      const known = read.get(`${at}`);
      if (known === undefined) read.set(`${at}`, lines);
      else assert.deepEqual(lines, known, `${name} at snapshot ${at}`);
    }
  }
  const { python } = await ensurePyIceberg();
  const script = fileURLToPath(new URL('../sinks/iceberg/filter_rows.py', import.meta.url));
  const { stdout } = await promisify(execFile)(python, [script, metadata]);
  const [asked, ...lost] = stdout.trim().split('\n').reverse();
  assert.match(asked ?? '', /^asked [0-9]{3,}$/);
  assert.deepEqual(lost, []);
});
