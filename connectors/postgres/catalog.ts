// Owns what the catalog adds to the log: schemas for the relations that the log describes, and the tables
// there are. The log decides names, order and types; ids, nullability, keys and defaults are the catalog's
// hints. Knows no topic.
import type pg from 'pg';
import {
  type Column,
  type ConnectDefault,
  type TableName,
  type TableSchema,
  tableText,
} from '../../src/change/schema.ts';
import { type ColumnRules, DEFAULT_FORMATS, type Formats } from '../../src/topic/format.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import { chooseKey, refuseHiddenKey, refuseUnmatched, rulesOf } from './catalog-choices.ts';
import { constantDefault } from './catalog-default.ts';
import { holdsAnyBytes, type LiveTable, readTables, readTypes, type TypeRef } from './catalog-queries.ts';
import type { Resolution } from './log-reader-events.ts';
import type { RelationMessage } from './pgoutput.ts';
import { type ColumnShape, hiddenBy, makeEncoders, prepareTable, relaxColumn, shownType } from './table.ts';
import { type Evidence, findKey, matchColumns } from './table-columns.ts';
import { compileTypeMap, type SourceType, type TypeMap } from './type-map.ts';

type CatalogOptions = {
  /** With the settings that fix how values are printed (connection.ts); nothing else uses it meanwhile. */
  client: pg.ClientBase;
  /** Which tables are captured; leaves are asked by the name of their root. */
  selects: (name: TableName) => boolean;
  /** The schema last in force under this name, from the state; null: none. */
  known: (name: TableName) => TableSchema | null;
  /** How values are published; Debezium's defaults if absent. */
  formats?: Formats;
  /** What is hidden of columns; nothing if absent. */
  rules?: ColumnRules;
};

/** A table as the catalog has it now; `table` has its columns as the log would describe them. */
export type CatalogTable = {
  oid: number;
  table: PreparedTable;
};

/** Types below this oid are built in and never change. */
const FIRST_USER_OID = 16_384;

/** What one lookup of types gave: how each ref is written, and all that they are made of. */
type TypeFacts = { types: Map<number, SourceType>; texts: string[] };

/** A column of the log, by its id. */
type KnownColumn = TypeRef & { id: number; name: string; isNullable: boolean; isRelaxed: boolean };

export class Catalog {
  readonly #options: CatalogOptions;
  readonly #checkUtf8: boolean;
  readonly #mapType: TypeMap;
  readonly #builtIn = new Map<number, SourceType>();
  readonly #builtInTexts = new Map<string, string>();
  /** By name, then by all that the encoders depend on: the same schema is the same object. */
  readonly #prepared = new Map<string, Map<string, PreparedTable>>();
  /** What the log made of a table last; outranks what the state knows. */
  readonly #logged = new Map<string, TableSchema>();
  /** Ids of columns that once held NULL against the catalog's word. */
  readonly #relaxed = new Map<string, Set<number>>();

  private constructor(options: CatalogOptions, checkUtf8: boolean) {
    this.#options = options;
    this.#checkUtf8 = checkUtf8;
    this.#mapType = compileTypeMap(options.formats ?? DEFAULT_FORMATS);
  }

  /** Throws what the server answers as a VarveError, as every method does. */
  static async open(options: CatalogOptions): Promise<Catalog> {
    return new Catalog(options, await holdsAnyBytes(options.client));
  }

  /**
   * All selected tables, by name, without generated columns, which the log leaves out too. Two round trips.
   * `toRead`: their rows will be, so no rule may go without its column; what is known by the state already
   * is otherwise only listed, because the log may still tell of a column that is gone.
   */
  async tables({ toRead = false } = {}): Promise<CatalogTable[]> {
    const live = (await readTables(this.#options.client, null)).filter((table) =>
      this.#options.selects([table.schema, table.name]),
    );
    const relations = live.map(asRelation);
    const facts = await this.#typeFacts(relations.flatMap(({ columns }) => columns));
    let from = 0;
    return live.map((table, at) => {
      const relation = relations[at] as RelationMessage;
      const texts = facts.texts.slice(from, from + relation.columns.length);
      from += relation.columns.length;
      const evidence = { live: table, previous: null, isLeaf: false };
      const mustMatch = toRead || this.#options.known([table.schema, table.name]) === null;
      const prepared = this.#prepare(relation, evidence, { types: facts.types, texts, mustMatch });
      return { oid: table.oid, table: prepared };
    });
  }

  /**
   * What a relation of the log is; asked each time the log describes one. A leaf gets its root's name, ids
   * and key, and columns in the root's order: cells are put there by name. `table` null: not captured.
   */
  async resolve(relation: RelationMessage): Promise<Resolution<PreparedTable>> {
    const { client, selects, known } = this.#options;
    const [live = null] = await readTables(client, [relation.oid]);
    const isLeaf = live !== null && live.oid !== relation.oid;
    const name: TableName = isLeaf ? [live.schema, live.name] : [relation.schema, relation.name];
    if (!selects(name)) return { table: null, truncatable: !isLeaf };
    const previous = this.#logged.get(tableText(name)) ?? known(name);
    const facts = await this.#typeFacts(relation.columns);
    const table = this.#prepare(
      { ...relation, schema: name[0], name: name[1] },
      { live, previous, isLeaf },
      { ...facts, mustMatch: true },
    );
    this.#logged.set(tableText(name), table.schema);
    return { table, truncatable: !isLeaf };
  }

  #prepare(
    relation: RelationMessage,
    evidence: Evidence,
    { types, texts, mustMatch }: TypeFacts & { mustMatch: boolean },
  ): PreparedTable {
    const name: TableName = [relation.schema, relation.name];
    const ids = matchColumns(relation.columns, evidence);
    const known = relation.columns.map((logged, at) =>
      this.#know(logged, ids[at] as number, { ...evidence, table: name }),
    );
    const key = this.#findKey(relation, known, evidence);
    const rules = rulesOf(this.#options.rules ?? {}, name);
    if (mustMatch) refuseUnmatched(rules, name, { relation, live: evidence.live });
    const nameOf = (id: number): string => known.find((column) => column.id === id)?.name ?? '';
    refuseHiddenKey(rules, name, key.map(nameOf));
    const shapes = known.flatMap((column, at): (ColumnShape & KnownColumn)[] => {
      const { id, typeOid, typmod } = column;
      const rule = rules.get(column.name);
      const isKey = key.includes(id);
      const mapped = this.#mapType(typeOid, typmod, { types, isKey });
      if (mapped === null || rule?.rule === 'drop') return [];
      const hidden = rule === undefined ? null : hiddenBy(rule, typeOid, { typmod, types });
      const optional = column.isRelaxed || (column.isNullable && !isKey);
      return [{ ...column, sourceType: texts[at] as string, optional, mapped, hidden }];
    });
    shapes.sort((a, b) => a.id - b.id);
    const columns = shapes.map((shape): Column => {
      const { id, typeOid, mapped, hidden, sourceType, optional } = shape;
      const live = evidence.live?.columns.find((column) => column.id === id && !column.dropped);
      // A hidden column's default might be what is to be hidden.
      const expression = hidden === null ? (live?.default ?? null) : null;
      const value = constantDefault(expression, types.get(typeOid), mapped);
      return { id, name: shape.name, sourceType, optional, type: shownType(shape), ...withDefault(value) };
    });
    const at = new Map(columns.map((column, index) => [column.id, index]));
    const schema = { name, columns, key: key.map((id) => at.get(id) as number) };
    const refs = shapes.map(({ typeOid, typmod }) => ({ typeOid, typmod }));
    return this.#intern(schema, refs, () => makeEncoders({ name, columns: shapes }, this.#checkUtf8));
  }

  #know(
    { name, typeOid, typmod }: RelationMessage['columns'][number],
    id: number,
    { table, live, previous }: Evidence & { table: TableName },
  ): KnownColumn {
    const now = live?.columns.find((column) => column.id === id && !column.dropped);
    const former = previous?.columns.find((column) => column.id === id);
    const isRequired = now?.notNull ?? former?.optional === false;
    const isRelaxed = this.#relaxed.get(tableText(table))?.has(id) === true;
    return { id, name, typeOid, typmod, isNullable: !isRequired, isRelaxed };
  }

  #findKey(relation: RelationMessage, columns: readonly KnownColumn[], evidence: Evidence): number[] {
    const chosen = this.#options.formats?.keyColumns[tableText([relation.schema, relation.name])];
    if (chosen !== undefined) return chooseKey(chosen, columns, { relation, live: evidence.live });
    return findKey(
      relation,
      columns.map(({ id }) => id),
      evidence,
    );
  }

  #intern(
    schema: TableSchema,
    refs: readonly TypeRef[],
    encoders: () => PreparedTable['encode'],
  ): PreparedTable {
    const name = tableText(schema.name);
    const known = this.#prepared.get(name) ?? new Map<string, PreparedTable>();
    this.#prepared.set(name, known);
    const signature = JSON.stringify([schema, refs]);
    const found = known.get(signature);
    if (found !== undefined) return found;
    const encode = encoders();
    const relax = (column: number): PreparedTable => {
      const ids = this.#relaxed.get(name) ?? new Set<number>();
      this.#relaxed.set(name, ids.add((schema.columns[column] as Column).id));
      const relaxed = relaxColumn(schema, column);
      this.#logged.set(name, relaxed);
      return this.#intern(relaxed, refs, () => encode);
    };
    const table = prepareTable(schema, encode, { checkUtf8: this.#checkUtf8, relax });
    known.set(signature, table);
    return table;
  }

  /**
   * Built-in types are asked for once, all others each time: an enum gets labels, an extension may be made
   * anew.
   */
  async #typeFacts(refs: readonly TypeRef[]): Promise<TypeFacts> {
    const keyOf = ({ typeOid, typmod }: TypeRef): string => `${typeOid}/${typmod}`;
    const missing = new Map(
      refs.filter((ref) => !this.#builtInTexts.has(keyOf(ref))).map((ref) => [keyOf(ref), ref]),
    );
    const asked = [...missing.values()];
    const answer =
      asked.length === 0 ? { types: [], texts: [] } : await readTypes(this.#options.client, asked);
    const texts = new Map(asked.map((ref, at) => [keyOf(ref), answer.texts[at] as string]));
    for (const type of answer.types) if (type.oid < FIRST_USER_OID) this.#builtIn.set(type.oid, type);
    for (const ref of asked) {
      if (ref.typeOid < FIRST_USER_OID) this.#builtInTexts.set(keyOf(ref), texts.get(keyOf(ref)) as string);
    }
    return {
      types: new Map([...this.#builtIn, ...answer.types.map((type) => [type.oid, type] as const)]),
      texts: refs.map((ref) => this.#builtInTexts.get(keyOf(ref)) ?? (texts.get(keyOf(ref)) as string)),
    };
  }
}

const withDefault = (value: ConnectDefault | undefined): { default?: ConnectDefault } =>
  value === undefined ? {} : { default: value };

/** What the log would say of a table now. */
const asRelation = ({ oid, schema, name, replicaIdentity, columns, ...live }: LiveTable): RelationMessage => {
  const keyIds =
    replicaIdentity === 'i' ? live.identityIndex : replicaIdentity === 'd' ? live.primaryKey : [];
  return {
    kind: 'relation',
    oid,
    schema,
    name,
    replicaIdentity,
    columns: columns
      .filter((column) => !column.dropped && !column.generated)
      .map(({ id, name, typeOid, typmod }) => ({
        isKey: replicaIdentity === 'f' || keyIds.includes(id),
        name,
        typeOid,
        typmod,
      })),
  };
};
