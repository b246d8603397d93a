// Owns random lives of a table whose columns come, go, change their names and types between its changes, and
// a plain model of what a table must remember of them. Knows no file, no field id and no merge.
import fc from 'fast-check';
import { formatOrder } from '../../src/change/order.ts';
import type { Column, ConnectType, TableSchema } from '../../src/change/schema.ts';

type Kind = 'int' | 'long' | 'float' | 'double' | 'text' | 'money' | 'dear' | 'ints' | 'longs';

const decimal = (precision: number): ConnectType => ({
  type: 'bytes',
  name: 'org.apache.kafka.connect.data.Decimal',
  parameters: { scale: '2', 'connect.decimal.precision': `${precision}` },
});
const TYPES: Readonly<Record<Kind, ConnectType>> = {
  int: { type: 'int32' },
  long: { type: 'int64' },
  float: { type: 'float32' },
  double: { type: 'float64' },
  text: { type: 'string' },
  money: decimal(6),
  dear: decimal(20),
  ints: { type: 'array', items: { type: 'int32', optional: true } },
  longs: { type: 'array', items: { type: 'int64', optional: true } },
};
/** Kinds of one family are one column of the table; of others, columns of their own. */
const FAMILIES: Readonly<Record<Kind, string>> = {
  int: 'whole',
  long: 'whole',
  float: 'floating',
  double: 'floating',
  text: 'text',
  money: 'decimal',
  dear: 'decimal',
  ints: 'list',
  longs: 'list',
};
const KINDS = Object.keys(TYPES) as Kind[];
/** Few names, so that they are taken again and again; some are the table's own, or differ by case alone. */
const NAMES = ['a', 'b', 'A', 'c__2', 'is_current', 'c'];

type SourceColumn = { id: number; name: string; kind: Kind; optional: boolean };
/** A value by the family that holds it: small, so that every kind of the family can. */
type Row = ReadonlyMap<string, number | null>;

type Version = { n: number; first: string; columns: readonly SourceColumn[]; keyKind: Kind };
export type Happening = {
  key: number;
  op: 'u' | 'd';
  order: string;
  ts: bigint;
  version: Version;
  /** By column id; absent: not sent. */
  values: ReadonlyMap<number, number | null>;
};

export type Life = { versions: readonly Version[]; happenings: readonly Happening[] };

type Step =
  | { does: 'add'; name: number; kind: number }
  | { does: 'drop' | 'null'; at: number }
  | { does: 'rename'; at: number; name: number }
  | { does: 'retype'; at: number; kind: number }
  | { does: 'rekey' }
  | { does: 'change'; key: number; op: 'u' | 'd'; values: readonly (number | null | undefined)[] };

const small = fc.nat(9);
const stepOf: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ does: fc.constant('add' as const), name: small, kind: small }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constantFrom('drop' as const, 'null' as const), at: small }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('rename' as const), at: small, name: small }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('retype' as const), at: small, kind: small }) },
  { weight: 1, arbitrary: fc.constant({ does: 'rekey' as const }) },
  {
    weight: 12,
    arbitrary: fc.record({
      does: fc.constant('change' as const),
      key: fc.nat(2),
      op: fc.constantFrom('u' as const, 'u' as const, 'u' as const, 'd' as const),
      // Undefined: what the source does not send, because it has not changed.
      values: fc.array(fc.constantFrom(null, 1, 2, 3, undefined), { minLength: 6, maxLength: 6 }),
    }),
  },
);

/** A column's values of one family, wherever the table keeps them. */
export const slotOf = ({ id, kind }: Pick<SourceColumn, 'id' | 'kind'>): string => `${id} ${FAMILIES[kind]}`;

const orderAt = (position: number): string =>
  formatOrder({ epoch: 1, position: BigInt(position), phase: 1, ordinal: 1 });

/** Columns after a step; the same list where the source would refuse it. */
const altered = (columns: readonly SourceColumn[], step: Step, id: number): readonly SourceColumn[] => {
  const isFree = (name: string): boolean => columns.every((column) => column.name !== name);
  if (step.does === 'add') {
    const name = NAMES[step.name % NAMES.length] as string;
    const kind = KINDS[step.kind % KINDS.length] as Kind;
    return isFree(name) && columns.length < 6 ? [...columns, { id, name, kind, optional: true }] : columns;
  }
  if (!('at' in step) || columns.length === 0) return columns;
  const at = step.at % columns.length;
  if (step.does === 'drop') return columns.filter((_, place) => place !== at);
  return columns.map((column, place): SourceColumn => {
    if (place !== at) return column;
    if (step.does === 'null') return { ...column, optional: !column.optional };
    if (step.does === 'retype') return { ...column, kind: KINDS[step.kind % KINDS.length] as Kind };
    if (step.does !== 'rename') return column;
    const name = NAMES[step.name % NAMES.length] as string;
    return isFree(name) ? { ...column, name } : column;
  });
};

/** What the steps make: a schema of the topic begins with its first change, as a source's does. */
const lifeOf = (steps: readonly Step[]): Life => {
  let columns: readonly SourceColumn[] = [{ id: 2, name: 'a', kind: 'int', optional: true }];
  let keyKind: Kind = 'int';
  let nextId = 3;
  const versions: Version[] = [];
  const newestOf = new Map<number, Version>();
  const happenings: Happening[] = [];
  for (const [at, step] of steps.entries()) {
    if (step.does === 'rekey') keyKind = 'long';
    if (step.does !== 'change') {
      columns = altered(columns, step, nextId++);
      continue;
    }
    const order = orderAt(at + 1);
    const newest = versions.at(-1);
    if (newest?.columns !== columns || newest.keyKind !== keyKind)
      versions.push({ n: versions.length + 1, first: order, columns, keyKind });
    const version = versions.at(-1) as Version;
    const values = new Map<number, number | null>();
    const since = versions.slice((newestOf.get(step.key) ?? version).n - 1);
    newestOf.set(step.key, version);
    for (const [place, column] of columns.entries()) {
      // A source does not leave out what it did not have when it wrote the row last.
      const isOld = since.every((one) => one.columns.some((other) => slotOf(other) === slotOf(column)));
      const value = step.values[place] ?? (isOld ? step.values[place] : null);
      if (value !== undefined) values.set(column.id, column.optional ? value : (value ?? 0));
    }
    happenings.push({ key: step.key, op: step.op, order, ts: BigInt(at + 1) * 1_000_000n, version, values });
  }
  return { versions, happenings };
};

export const life: fc.Arbitrary<Life> = fc.array(stepOf, { minLength: 6, maxLength: 40 }).map(lifeOf);

/** As a topic's schema record has it. */
export const schemaOf = ({ columns, keyKind }: Version): TableSchema => ({
  name: ['public', 't'],
  columns: [
    { id: 1, name: 'id', type: TYPES[keyKind], sourceType: keyKind, optional: false },
    ...columns.map(
      ({ id, name, kind, optional }): Column => ({ id, name, type: TYPES[kind], sourceType: kind, optional }),
    ),
  ],
  key: [0],
});

/** The value as the topic's Avro has it. */
export const avroValue = (value: number, kind: Kind): unknown => {
  if (kind === 'text') return `${value}`;
  if (kind === 'long') return BigInt(value);
  if (kind === 'money' || kind === 'dear') return Buffer.from([value]);
  if (kind === 'ints') return [{ int: value }];
  return kind === 'longs' ? [{ long: BigInt(value) }] : value;
};

/** As a reader of the table prints it. */
export const printedValue = (slot: string, value: number): string => {
  const family = slot.slice(slot.indexOf(' ') + 1);
  if (family === 'decimal') return (value / 100).toFixed(2);
  if (family === 'list') return `[${value}]`;
  return family === 'floating' ? `${value}.0` : `${value}`;
};

export type Remembered = {
  key: number;
  order: string;
  orderEnd: string | null;
  closedBy: string | null;
  /** By slot; absent: NULL. */
  values: Row;
  /** Slots without the value that the row had. */
  unknown: ReadonlySet<string>;
};

/** All versions of every row, in order: what has to be remembered, said without any of the ways to do so. */
export const remember = ({ happenings }: Life): Remembered[] => {
  const rows: Remembered[] = [];
  for (const key of new Set(happenings.map((one) => one.key))) {
    let open: Remembered | null = null;
    /** What the row was like last, also where it is gone: what is not sent comes from it. */
    let last: Pick<Remembered, 'values' | 'unknown'> | null = null;
    const end = (order: string, closedBy: string): void => {
      if (open !== null) rows.push({ ...open, orderEnd: order, closedBy });
    };
    for (const { op, order, version, values } of happenings.filter((one) => one.key === key)) {
      if (op === 'd') {
        end(order, 'd');
        open = null;
        continue;
      }
      const now = new Map<string, number | null>();
      const unknown = new Set<string>();
      const before: Remembered | null = open;
      for (const column of version.columns) {
        const slot = slotOf(column);
        const sent = values.get(column.id);
        now.set(slot, sent === undefined ? (last?.values.get(slot) ?? null) : sent);
        if (sent === undefined && (last === null || last.unknown.has(slot))) unknown.add(slot);
      }
      last = { values: now, unknown };
      const isSame =
        before !== null &&
        [...now].every(([slot, value]) => (before.values.get(slot) ?? null) === value) &&
        [...now.keys()].every((slot) => unknown.has(slot) === before.unknown.has(slot));
      if (isSame) continue;
      end(order, 'u');
      open = { key, order, orderEnd: null, closedBy: null, values: now, unknown };
    }
    if (open !== null) rows.push(open);
  }
  return rows.sort((a, b) => (a.order < b.order ? -1 : 1));
};
