// Owns one row's life as people follow it: its versions in order, what each of them changed, the gaps between
// them, and how long all that lasted. Pure; knows neither the table's files nor how it is printed.
import type { Order } from '../change/order.ts';
import { isOwnColumn } from '../sinks/parquet/columns-layout.ts';
import type { EngineValue } from '../sinks/parquet/columns-value.ts';
import { keyTextOf } from '../sinks/parquet/engine/key-text.ts';
import type { IcebergField } from '../sinks/parquet/iceberg-type.ts';

/** A stored version, as the table has it. */
export type LifeVersion = {
  values: readonly EngineValue[];
  /** URI of the data file that holds it. */
  file: string;
  key: readonly Exclude<EngineValue, null>[];
  from: bigint;
  to: bigint | null;
  op: string;
  order: Order;
  orderEnd: Order | null;
  tx: string | null;
  commitTs: bigint;
  closedBy: string | null;
  previousKey: string | null;
};

export type LifeStep =
  | {
      kind: 'version';
      version: LifeVersion;
      /** Columns that differ from the version before; null: there is none, or a gap lies between. */
      changed: readonly string[] | null;
      /** The key that it had before, where this version came of a change of key. */
      rekeyedFrom: readonly EngineValue[] | null;
    }
  | {
      kind: 'gap';
      from: bigint;
      /** Null: the row has not come back. */
      to: bigint | null;
      closedBy: string;
    };

type Columns = { fields: readonly IcebergField[]; key: readonly number[] };

/** A row that only marks a delete: the version before it says as much. */
export const isMark = ({ op }: LifeVersion): boolean => op === 'd';

/** Reads a row of the table; null for a table whose rows say nothing of their lives. */
export const readVersion = (
  values: readonly EngineValue[],
  file: string,
  { fields, key }: Columns,
): LifeVersion | null => {
  const at = (name: string): EngineValue => values[fields.findIndex((field) => field.name === name)] ?? null;
  if (!fields.some(({ name }) => name === 'valid_to')) return null;
  return {
    values,
    file,
    key: key.map((id) => values[fields.findIndex((field) => field.id === id)] as Exclude<EngineValue, null>),
    from: at('valid_from') as bigint,
    to: at('valid_to') as bigint | null,
    op: at('_op') as string,
    order: at('_order') as string,
    orderEnd: at('_order_end') as string | null,
    tx: at('_tx') as string | null,
    commitTs: at('_commit_ts') as bigint,
    closedBy: at('_closed_by') as string | null,
    previousKey: at('_previous_key') as string | null,
  };
};

/** As values of one column: -0 is not 0, NaN is NaN. */
export const isSameValue = (one: EngineValue, other: EngineValue): boolean => {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0;
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((item, at) => isSameValue(item, other[at] ?? null));
  return Object.is(one, other);
};

const changedColumns = (one: LifeVersion, other: LifeVersion, fields: readonly IcebergField[]): string[] =>
  fields
    .filter(({ name }, at) => {
      return !isOwnColumn(name) && !isSameValue(one.values[at] ?? null, other.values[at] ?? null);
    })
    .map(({ name }) => name);

/**
 * The steps of a life from its versions, which may be of several keys where the row's key changed. A version
 * that begins as the one before ends follows it without a gap.
 */
export const lifeSteps = (versions: readonly LifeVersion[], { fields }: Columns): LifeStep[] => {
  const sorted = versions.toSorted((a, b) => (a.order < b.order ? -1 : 1));
  const steps: LifeStep[] = [];
  for (const [at, version] of sorted.entries()) {
    const before = sorted[at - 1];
    const isRekeyed = before !== undefined && keyTextOf(before.key) !== keyTextOf(version.key);
    const follows = before !== undefined && (before.closedBy === 'u' || before.closedBy === 'k');
    if (before !== undefined && !follows && before.to !== null)
      steps.push({ kind: 'gap', from: before.to, to: version.from, closedBy: before.closedBy ?? '' });
    steps.push({
      kind: 'version',
      version,
      changed: follows ? changedColumns(before, version, fields) : null,
      rekeyedFrom: isRekeyed && follows ? before.key : null,
    });
  }
  const last = sorted.at(-1);
  if (last !== undefined && last.to !== null)
    steps.push({ kind: 'gap', from: last.to, to: null, closedBy: last.closedBy ?? '' });
  return steps;
};
