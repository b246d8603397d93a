// Owns a table of which nearly every column widens, gets another type, another name or goes, in two commits
// of two schemas and with upkeep after them.
import type { ConnectType, TableSchema } from '../../src/change/schema.ts';
import { DEFAULT_FILES } from '../../src/sinks/parquet/file-layout.ts';
import { EvolvingTable, type Written } from '../laws/evolution-table.ts';
import type { SharedEngine } from '../sinks/engine/engine-table.ts';
import { columnsOf, EventWriter } from '../sinks/engine/event-batches.ts';
import { decimal, TYPE } from '../support/plain-table.ts';
import { orderAt } from '../support/table-bench.ts';

export const KEYS = 40;
const FLOAT: ConnectType = { type: 'float32' };
const listOf = (items: ConnectType): ConnectType => ({ type: 'array', items: { ...items, optional: true } });
const pk = { type: TYPE.int, optional: false };
const schema = (columns: Parameters<typeof columnsOf>[0]): TableSchema => ({
  name: ['public', 't'],
  columns: columnsOf(columns),
  key: [0],
});
/** Everything widens or gets another type, one is renamed, one goes, one has the name of a partition. */
const SCHEMAS = [
  schema({
    pk,
    area: { type: TYPE.int },
    ratio: { type: FLOAT },
    price: { type: decimal(6, 2) },
    list: { type: listOf(TYPE.int) },
    kind: { type: TYPE.int },
    gone: { type: TYPE.text },
  }),
  schema({
    pk: { ...pk, type: TYPE.long },
    zone: { type: TYPE.long, id: 2 },
    ratio: { type: TYPE.double, id: 3 },
    price: { type: decimal(30, 2), id: 4 },
    list: { type: listOf(TYPE.long), id: 5 },
    kind: { type: TYPE.text, id: 6 },
    area: { type: TYPE.int, id: 9 },
    pk_bucket_4: { type: TYPE.int, id: 10 },
  }),
];

const event = (n: number, at: number, [key, row]: [number | bigint, object]): Written => ({
  n,
  event: { op: 'u', order: orderAt(at), ts: BigInt(at), key: { pk: key }, row: { pk: key, ...row } },
});
const before = (key: number): Written => {
  const values = { area: { int: key % 3 }, ratio: { float: key / 4 }, price: { bytes: Buffer.from([key]) } };
  const rest = { list: { array: [{ int: key }, null] }, kind: { int: key }, gone: { string: `g${key}` } };
  return event(1, key + 1, [key, { ...values, ...rest }]);
};
const later = (key: number): Written => {
  const price = { bytes: Buffer.from([key + 1, 0, 0, 0, 0, 0]) };
  const values = { zone: { long: BigInt(key % 3) + 2n ** 40n }, ratio: { double: key / 3 }, price };
  const rest = { list: { array: [{ long: 2n ** 50n }] }, kind: { string: `k${key}` } };
  const more = { area: { int: key }, pk_bucket_4: { int: key } };
  return event(2, 100 + key, [BigInt(key), { ...values, ...rest, ...more }]);
};

export const foldWidened = async ({ engine, directory }: SharedEngine): Promise<EvolvingTable> => {
  const writers = SCHEMAS.map((one, at) => new EventWriter(one, at + 1, at === 0 ? '' : orderAt(100)));
  const files = { ...DEFAULT_FILES, buckets: 4, partitionBy: ['area'] };
  const table = new EvolvingTable({ engine, directory, writers, rules: { files, keepSnapshots: 100 } });
  await table.open();
  const keys = Array.from({ length: KEYS }, (_, key) => key);
  await table.commit(keys.map(before));
  await table.commit(keys.filter((key) => key % 2 === 0).map(later));
  await table.upkeep();
  return table;
};
