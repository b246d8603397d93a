// Owns reading back the events of the keys that need the rules, out of the engine's database. Knows no rule.
import type { EngineValue } from '../columns-value.ts';
import type { IcebergType } from '../iceberg-type.ts';
import type { Change } from '../scd2-version.ts';
import type { Bench } from './bench.ts';
import { keyTextOf } from './key-text.ts';
import { columnList, matchKeys } from './sql.ts';
import type { KeyChanges } from './touched-keys.ts';

const NO_COLUMNS: readonly number[] = [];
const NAMES: IcebergType = { type: 'list', 'element-id': 0, element: 'string', 'element-required': false };

/** By key: the events of `ruled_key`; their images are in the store. */
export const readRuled = async ({
  context,
  fields,
  store,
  decoder,
}: Bench): Promise<Map<string, KeyChanges>> => {
  const { user, key } = fields;
  const { partitions, details } = decoder.collector;
  const keys = new Map<string, KeyChanges>();
  const keyAt = key.map((field) => 6 + user.indexOf(field));
  await context.database.read(
    `SELECT e.n, e.op, e.event_order, e.ts, e.tx, e.incomplete, ${columnList(user, 'e')} FROM event e ` +
      `SEMI JOIN ruled_key r ON ${matchKeys(key, 'r', 'e')} ORDER BY e.n`,
    ['int', 'string', 'string', 'timestamptz', 'string', NAMES, ...user.map(({ type }) => type)],
    (columns, rows) => {
      const [numbers, ops, orders, times, txs, incomplete] = columns as [
        readonly number[],
        readonly Change<number>['op'][],
        readonly string[],
        readonly bigint[],
        readonly string[],
        readonly (readonly string[] | null)[],
      ];
      const first = store.addColumns(columns.slice(6), incomplete);
      for (let row = 0; row < rows; row++) {
        const rank = numbers[row]!;
        const op = ops[row]!;
        const values: EngineValue[] = keyAt.map((at) => columns[at]![row]!);
        const detail = details.get(rank);
        const change: Change<number> = {
          order: orders[row]!,
          op,
          ts: times[row]!,
          tx: txs[row]!,
          image: op === 'd' ? null : first + row,
          unchanged: detail?.unchanged ?? NO_COLUMNS,
          moved: detail?.moved ?? false,
          origin: detail?.origin ?? null,
          previousKey: detail?.previousKey ?? null,
          rank,
        };
        const name = keyTextOf(values);
        const known = keys.get(name);
        if (known === undefined) keys.set(name, { values, changes: [change], partition: partitions[rank]! });
        else known.changes.push(change);
      }
    },
  );
  return keys;
};
