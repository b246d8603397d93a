// Laws of tables whose columns change: whatever is done to the columns and however the changes arrive, the
// table remembers what a plain model does; and names and ids never come to mean something else unasked.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import {
  fieldOfColumn,
  isOwnColumn,
  layoutColumns,
  type TableLayout,
} from '../../src/sinks/parquet/columns-layout.ts';
import { evolveColumns } from '../../src/sinks/parquet/iceberg/schema.ts';
import { storedLayout } from '../../src/sinks/parquet/stored-table.ts';
import { SharedEngine } from '../sinks/engine/engine-table.ts';
import { type EventRecord, EventWriter } from '../sinks/engine/event-batches.ts';
import { atLevel } from '../support/level.ts';
import { readTable, type TextRow } from '../support/table-rows.ts';
import {
  avroValue,
  type Happening,
  type Life,
  life,
  printedValue,
  type Remembered,
  remember,
  schemaOf,
  slotOf,
} from './evolution-history.ts';
import { EvolvingTable, type Written } from './evolution-table.ts';

const runs = atLevel({ test: 12, all: 60, deep: 600 });

const writersOf = ({ versions }: Life): EventWriter[] =>
  versions.map((version) => new EventWriter(schemaOf(version), version.n, version.first));

const rowOf = ({ key, values, version }: Happening): Record<string, unknown> => {
  const row: Record<string, unknown> = { id: version.keyKind === 'long' ? BigInt(key) : key };
  for (const { id, name, kind, optional } of version.columns) {
    const value = values.get(id) ?? null;
    // What is not sent has some value that says nothing.
    const avro = value === null && optional ? null : avroValue(value ?? 0, kind);
    const branch = { text: 'string', money: 'bytes', dear: 'bytes', ints: 'array', longs: 'array' };
    row[name] = avro === null || !optional ? avro : { [Reflect.get(branch, kind) ?? kind]: avro };
  }
  return row;
};

const written = (happening: Happening): Written => {
  const { op, order, ts, key, version, values } = happening;
  const unsent = version.columns.filter(({ id }) => !values.has(id)).map(({ name }) => name);
  const id = version.keyKind === 'long' ? BigInt(key) : key;
  const event: EventRecord = { op, order, ts, tx: order, key: { id } };
  if (op === 'd') return { n: version.n, event };
  const headers = unsent.length === 0 ? {} : { headers: { 'varve.unchanged': JSON.stringify(unsent) } };
  return { n: version.n, event: { ...event, row: rowOf(happening), ...headers } };
};

const FAMILY = /^(?<whole>int|long)$|^(?<floating>float|double)$|^(?<decimal>decimal.*)$|^(?<text>string)$/;

/** The table's names of the model's slots. */
const slotNames = ({ columns, fields }: TableLayout): Map<string, string> =>
  new Map(
    [...columns].flatMap(([id, filled]) =>
      filled.map((fieldId): [string, string] => {
        const field = fields.find((one) => one.id === fieldId);
        const groups = typeof field?.type === 'string' ? FAMILY.exec(field.type)?.groups : { list: '' };
        const [family] = Object.entries(groups ?? {}).find(([, found]) => found !== undefined) ?? [];
        return [`${id} ${family}`, field?.name ?? ''];
      }),
    ),
  );

const expected = (row: Remembered, names: ReadonlyMap<string, string>): Record<string, string | null> => ({
  _order: row.order,
  _order_end: row.orderEnd,
  _closed_by: row.closedBy,
  unknown: `${row.unknown.size}`,
  ...Object.fromEntries([...names.values()].map((name) => [name, null])),
  id: `${row.key}`,
  ...Object.fromEntries(
    [...row.values].map(([slot, value]) => [
      names.get(slot) ?? slot,
      value === null ? null : printedValue(slot, value),
    ]),
  ),
});

const picked = (row: TextRow, like: Record<string, unknown>): Record<string, string | null> =>
  Object.fromEntries(
    Object.keys(like).map((name) => [
      name,
      name === 'unknown' ? `${JSON.parse(row._incomplete ?? '[]').length}` : (row[name] ?? null),
    ]),
  );

let shared: SharedEngine;
before(() => {
  shared = new SharedEngine();
});
after(() => shared[Symbol.asyncDispose]());

const opened = async (lived: Life): Promise<EvolvingTable> => {
  const { engine, directory } = shared;
  const table = new EvolvingTable({ engine, directory, writers: writersOf(lived) });
  await table.open();
  return table;
};

test('any columns, any batches, any order, twice: the table is what a plain model remembers', async () => {
  const places = fc.array(fc.nat(199), { minLength: 40, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(life, places, fc.integer({ min: 1, max: 4 }), async (lived, at, parts) => {
      if (lived.happenings.length === 0) return;
      const table = await opened(lived);
      const place = (index: number): number => at[index % at.length] ?? 0;
      for (let part = 0; part < parts; part++) {
        const batch = lived.happenings
          .map((one, index) => ({ one, place: place(index) }))
          .filter((sent) => sent.place % parts === part || (sent.place % 7 === 0 && part > 0))
          .sort((a, b) => a.place - b.place);
        if (batch.length === 0) continue;
        await table.commit(batch.map(({ one }) => written(one)));
        if (place(part) % 3 === 0) await table.upkeep();
        if (place(part) % 2 === 0) await table.open();
      }
      const found = await readTable(table.location, 't');
      const names = slotNames(storedLayout(found.state));
      const rows = remember(lived).map((row) => expected(row, names));
      assert.deepEqual(
        found.rows.map((row, index) => picked(row, rows[index] ?? row)),
        rows,
      );
    }),
    { numRuns: runs, endOnFailure: true },
  );
});

const userFields = ({ fields }: TableLayout) => fields.filter(({ name }) => !isOwnColumn(name));

test('ids and names never come to mean something else, and old files stay readable', () => {
  fc.assert(
    fc.property(life, ({ versions }) => {
      let before: TableLayout | null = null;
      for (const version of versions) {
        const { record } = new EventWriter(schemaOf(version), version.n, version.first);
        const layout = layoutColumns(record, before);
        const old = before?.fields ?? [];
        // What Iceberg allows: throws where a file of before could not be read.
        const wanted = layout.fields;
        evolveColumns({ fields: old, lastColumnId: before?.lastId ?? 0 }, wanted);
        const folded = layout.fields.map(({ name }) => name.toLowerCase());
        assert.equal(new Set(folded).size, folded.length, folded.join());
        for (const { id } of old) assert.ok(layout.fields.some((field) => field.id === id));
        // Whatever the source has is called so, with something behind it at most.
        for (const column of record.columns) {
          const { name = '' } = fieldOfColumn(layout, column) ?? {};
          assert.ok(name.startsWith(column.name), `${name} is ${column.name}`);
        }
        // A name moves only for a column that the source calls so.
        for (const { id, name } of userFields(before ?? layout)) {
          const now = layout.fields.find((field) => field.id === id)?.name ?? '';
          if (now === name) continue;
          const isOfSource = [...layout.columns].some(
            ([column, filled]) => filled.includes(id) && version.columns.some((one) => one.id === column),
          );
          const taker = userFields(layout).find((field) => field.name.toLowerCase() === name.toLowerCase());
          assert.ok(isOfSource || taker !== undefined, `${name} became ${now}`);
        }
        before = layout;
      }
    }),
    { numRuns: runs * 20 },
  );
});

test('the field of an event follows from its column and type, whenever it comes', () => {
  fc.assert(
    fc.property(life, ({ versions }) => {
      const layouts: TableLayout[] = [];
      for (const version of versions) {
        const { record } = new EventWriter(schemaOf(version), version.n, version.first);
        layouts.push(layoutColumns(record, layouts.at(-1) ?? null));
      }
      for (const [at, version] of versions.entries())
        for (const column of schemaOf(version).columns) {
          const then = fieldOfColumn(layouts[at] as TableLayout, column)?.id;
          assert.ok(then !== undefined);
          for (const later of layouts.slice(at)) assert.equal(fieldOfColumn(later, column)?.id, then);
        }
      const slots = new Set(versions.flatMap(({ columns }) => columns.map(slotOf)));
      assert.equal(
        slots.size,
        [...(layouts.at(-1)?.columns.entries() ?? [])].flatMap(([id, filled]) => (id === 1 ? [] : filled))
          .length,
      );
    }),
    { numRuns: runs * 20 },
  );
});
