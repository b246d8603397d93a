// The independent readers themselves: all three must say the same about a table that none of our code wrote.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ensurePyIceberg, openTableReader, type ReaderEngine } from './readers.ts';

/** Writes two snapshots by PyIceberg; prints the first snapshot's id and the metadata's path. */
const writeTable = `
import datetime as dt, decimal, sys
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
catalog = SqlCatalog("c", uri=f"sqlite:///{sys.argv[1]}/c.db", warehouse=f"file://{sys.argv[1]}/w")
catalog.create_namespace("n")
schema = pa.schema([("i", pa.int32()), ("l", pa.int64()), ("d", pa.float64()), ("s", pa.string()),
  ("b", pa.binary()), ("n", pa.decimal128(20, 4)), ("ts", pa.timestamp("us")),
  ("tz", pa.timestamp("us", "UTC")), ("day", pa.date32()), ("li", pa.list_(pa.timestamp("us", "UTC")))])
table = catalog.create_table("n.t", schema=schema)
zoned = dt.datetime(1, 1, 1, tzinfo=dt.timezone.utc)
row = dict(i=1, l=2**60, d=float("nan"), s="\\u00e4\\n", b=b"\\x00\\xff", n=decimal.Decimal("-12.3400"),
  ts=dt.datetime(1969, 12, 31, 23, 59, 59, 999999), tz=zoned, day=dt.date(1582, 1, 1), li=[zoned, None])
table.append(pa.Table.from_pylist([row], schema=schema))
print(table.current_snapshot().snapshot_id)
table.append(pa.Table.from_pylist([{name: None for name in row}], schema=schema))
print(table.metadata_location.removeprefix("file://"))
`;

const full =
  '{"b":"00ff","d":"NaN","day":"1582-01-01","i":1,"l":"1152921504606846976",' +
  '"li":["0001-01-01T00:00:00.000000Z",null],"n":"-12.3400","s":"ä\\n",' +
  '"ts":"1969-12-31T23:59:59.999999","tz":"0001-01-01T00:00:00.000000Z"}';
const empty =
  '{"b":null,"d":null,"day":null,"i":null,"l":null,"li":null,"n":null,"s":null,"ts":null,"tz":null}';

for (const engine of ['pyiceberg', 'duckdb', 'spark'] satisfies ReaderEngine[]) {
  test(`${engine} reads a table, a snapshot, some columns, and reports what it cannot read`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'varve-readers-'));
    try {
      const { python } = await ensurePyIceberg();
      const { stdout } = await promisify(execFile)(python, ['-c', writeTable, folder]);
      const [snapshotId = '', metadata = ''] = stdout.trim().split('\n');
      await using reader = await openTableReader(engine);
      assert.deepEqual(await reader.read({ metadata }), [full, empty]);
      const first = { metadata, snapshotId: BigInt(snapshotId), columns: ['i', 'b'] };
      assert.deepEqual(await reader.read(first), ['{"b":"00ff","i":1}']);
      await assert.rejects(
        reader.read({ metadata: join(folder, 'none.metadata.json') }),
        /cannot read .*none/,
      );
      assert.equal((await reader.read({ metadata })).length, 2);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}
