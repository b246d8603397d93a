// Columns keep their ids through whatever DDL the catalog has seen and the log has not.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { LiveColumn, LiveTable } from '../../../connectors/postgres/catalog-queries.ts';
import type { RelationMessage } from '../../../connectors/postgres/pgoutput.ts';
import { findKey, matchColumns } from '../../../connectors/postgres/table-columns.ts';
import type { TableSchema } from '../../../src/change/schema.ts';

const INT = 23;
const TEXT = 25;

const live = (...columns: (Partial<LiveColumn> & { id: number })[]): LiveTable => ({
  oid: 1,
  schema: 'public',
  name: 't',
  replicaIdentity: 'd',
  primaryKey: [],
  identityIndex: [],
  uniqueKeys: [],
  columns: columns.map((column) => ({
    name: column.dropped ? `........pg.dropped.${column.id}........` : `c${column.id}`,
    typeOid: column.dropped ? 0 : INT,
    typmod: -1,
    notNull: false,
    dropped: false,
    generated: false,
    default: null,
    ...column,
  })),
});

const logged = (...names: (string | [string, number])[]): RelationMessage['columns'] =>
  names.map((name) => {
    const [text, typeOid] = typeof name === 'string' ? [name, INT] : name;
    return { isKey: false, name: text, typeOid, typmod: -1 };
  });

const schema = (columns: Record<string, number>, key: number[] = []): TableSchema => ({
  name: ['public', 't'],
  columns: Object.entries(columns).map(([name, id]) => ({
    id,
    name,
    type: { type: 'int32' },
    sourceType: 'integer',
    optional: true,
  })),
  key,
});

const match = (
  columns: RelationMessage['columns'],
  table: LiveTable | null,
  previous: TableSchema | null = null,
) => matchColumns(columns, { live: table, previous, isLeaf: false });

describe('ids of columns', () => {
  it('are the catalog numbers of the names', () => {
    assert.deepEqual(
      match(logged('a', 'c'), live({ id: 1, name: 'a' }, { id: 2, dropped: true }, { id: 3, name: 'c' })),
      [1, 3],
    );
  });

  it('stay where the catalog has renamed since', () => {
    const table = live({ id: 1, name: 'a' }, { id: 2, name: 'new' }, { id: 3, name: 'c' });
    assert.deepEqual(match(logged('a', 'old', 'c'), table), [1, 2, 3]);
    assert.deepEqual(match(logged('a', 'old', 'c'), table, schema({ a: 1, old: 2, c: 3 })), [1, 2, 3]);
  });

  it('stay where two names were swapped since', () => {
    const table = live({ id: 1, name: 'b' }, { id: 2, name: 'a' });
    assert.deepEqual(match(logged('a', 'b'), table), [1, 2]);
    assert.deepEqual(match(logged('a', 'b'), table, schema({ a: 1, b: 2 })), [1, 2]);
  });

  it('stay where the column was dropped since', () => {
    const table = live({ id: 1, name: 'a' }, { id: 2, dropped: true }, { id: 3, name: 'c' });
    assert.deepEqual(match(logged('a', 'b', 'c'), table), [1, 2, 3]);
  });

  it('tell a name that came back from the one that went', () => {
    const table = live(
      { id: 1, name: 'a' },
      { id: 2, dropped: true },
      { id: 3, name: 'c' },
      { id: 4, name: 'b' },
    );
    const before = schema({ a: 1, b: 2, c: 3 });
    assert.deepEqual(match(logged('a', 'b', 'c'), table, before), [1, 2, 3], 'the log is before the drop');
    assert.deepEqual(match(logged('a', 'b', 'c'), table), [1, 2, 3], 'told by the order');
    assert.deepEqual(match(logged('a', 'c', 'b'), table, before), [1, 3, 4], 'the log is past it');
  });

  it('tell it by the type where the order does not', () => {
    const table = live({ id: 1, name: 'a' }, { id: 2, dropped: true }, { id: 3, name: 'b', typeOid: TEXT });
    const before = schema({ a: 1, b: 2 });
    assert.deepEqual(match(logged('a', 'b'), table, before), [1, 2]);
    assert.deepEqual(match(logged('a', ['b', TEXT]), table, before), [1, 3]);
  });

  it('are the known ones where the table is gone, and numbers from one where nothing is known', () => {
    assert.deepEqual(match(logged('a', 'b'), null, schema({ a: 1, b: 4 })), [1, 4]);
    assert.deepEqual(match(logged('a', 'b', 'c'), null, schema({ a: 1, b: 4 })), [1, 4, 5]);
    assert.deepEqual(match(logged('a', 'b'), null), [1, 2]);
  });

  it('do not rise in a leaf that orders its columns otherwise', () => {
    const root = live({ id: 1, name: 'a' }, { id: 3, name: 'b' }, { id: 4, name: 'new', typeOid: TEXT });
    const ids = matchColumns(logged('b', ['old', TEXT], 'a'), { live: root, previous: null, isLeaf: true });
    assert.deepEqual(ids, [3, 4, 1]);
  });

  type State = LiveColumn[];
  const step = fc.record({
    kind: fc.constantFrom('add', 'rename', 'drop', 'retype'),
    at: fc.nat(),
    type: fc.boolean(),
  });

  /** One statement of DDL; names are never used twice. */
  const change = (
    state: State,
    { kind, at, type }: { kind: string; at: number; type: boolean },
    n: number,
  ): State => {
    const alive = state.filter(({ dropped }) => !dropped);
    const typeOid = type ? INT : TEXT;
    const target = alive[at % Math.max(alive.length, 1)];
    if (kind === 'add' || target === undefined) {
      return [...state, ...live({ id: state.length + 1, name: `n${n}`, typeOid }).columns];
    }
    const edit = (column: LiveColumn): LiveColumn => {
      if (kind === 'rename') return { ...column, name: `n${n}` };
      if (kind === 'retype') return { ...column, typeOid };
      return { ...column, name: 'dropped', dropped: true, typeOid: 0 };
    };
    return state.map((column) => (column === target ? edit(column) : column));
  };

  it('are right after any DDL of which the log shows one statement at a time', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), fc.nat(), (steps, seen) => {
        const states: State[] = [live({ id: 1 }, { id: 2, typeOid: TEXT }, { id: 3 }).columns];
        for (const [n, one] of steps.entries()) states.push(change(states.at(-1) as State, one, n));
        const now = seen % steps.length;
        const [before, during, catalog] = [states[now], states[now + 1], states.at(-1)] as [
          State,
          State,
          State,
        ];
        // With the newest column already gone from the schema before, two numbers are equally likely.
        fc.pre(before.at(-1)?.dropped === false);
        const shown = during.filter(({ dropped }) => !dropped);
        const columns = shown.map(({ name, typeOid }) => ({ isKey: false, name, typeOid, typmod: -1 }));
        const known = schema(
          Object.fromEntries(before.filter((c) => !c.dropped).map(({ name, id }) => [name, id])),
        );
        const found = match(columns, { ...live(), columns: catalog }, known);
        assert.deepEqual(
          found,
          shown.map(({ id }) => id),
        );
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the key', () => {
  const table = (more: Partial<LiveTable>): LiveTable => ({
    ...live({ id: 1 }, { id: 2 }, { id: 3 }),
    ...more,
  });
  const keyOf = (
    replicaIdentity: RelationMessage['replicaIdentity'],
    flags: number[],
    evidence: { live: LiveTable | null; previous?: TableSchema; isLeaf?: boolean },
  ): number[] => {
    const columns = [1, 2, 3].map((id) => ({
      isKey: flags.includes(id),
      name: `c${id}`,
      typeOid: INT,
      typmod: -1,
    }));
    const relation = {
      kind: 'relation' as const,
      oid: 1,
      schema: 'public',
      name: 't',
      replicaIdentity,
      columns,
    };
    return findKey(relation, [1, 2, 3], { previous: null, isLeaf: false, ...evidence });
  };

  it('is the primary key in its own order', () => {
    assert.deepEqual(keyOf('d', [1, 3], { live: table({ primaryKey: [3, 1] }) }), [3, 1]);
    assert.deepEqual(keyOf('f', [1, 2, 3], { live: table({ primaryKey: [2] }) }), [2]);
    assert.deepEqual(keyOf('n', [], { live: table({ primaryKey: [2] }) }), [2]);
  });

  it('is the identity index where there is one, in its own order', () => {
    assert.deepEqual(keyOf('i', [2, 3], { live: table({ primaryKey: [1], identityIndex: [3, 2] }) }), [3, 2]);
  });

  it('is none where the log has none', () => {
    assert.deepEqual(keyOf('f', [1, 2, 3], { live: table({}) }), []);
    assert.deepEqual(keyOf('d', [], { live: table({}) }), []);
  });

  it('is what the log says where the catalog is ahead or gone', () => {
    assert.deepEqual(keyOf('d', [2], { live: table({ primaryKey: [1, 3] }) }), [2]);
    assert.deepEqual(keyOf('d', [1, 2], { live: null }), [1, 2]);
    assert.deepEqual(keyOf('d', [1, 2], { live: null, previous: schema({ b: 2, a: 1 }, [0, 1]) }), [2, 1]);
    assert.deepEqual(keyOf('f', [1, 2, 3], { live: null, previous: schema({ b: 2, a: 1 }, [0, 1]) }), [2, 1]);
  });

  it("is the root's for a leaf with a wider one", () => {
    assert.deepEqual(keyOf('d', [1, 2, 3], { live: table({ primaryKey: [2, 1] }), isLeaf: true }), [2, 1]);
    assert.deepEqual(keyOf('d', [1], { live: table({}), isLeaf: true }), [1]);
  });
});
