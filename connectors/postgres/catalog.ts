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
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import { constantDefault } from './catalog-default.ts';
import { holdsAnyBytes, type LiveTable, readTables, readTypes, type TypeRef } from './catalog-queries.ts';
import type { Resolution } from './log-reader-events.ts';
import type { RelationMessage } from './pgoutput.ts';
import { type ColumnShape, makeEncoders, prepareTable, relaxColumn } from './table.ts';
import { type Evidence, findKey, matchColumns } from './table-columns.ts';
import { mapType, type SourceType } from './type-map.ts';

type CatalogOptions = {
  /** With the settings that fix how values are printed (connection.ts); nothing else uses it meanwhile. */
  client: pg.ClientBase;
  /** Which tables are captured; leaves are asked by the name of their root. */
  selects: (name: TableName) => boolean;
  /** The schema last in force under this name, from the state; null: none. */
  known: (name: TableName) => TableSchema | null;
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

export class Catalog {
  readonly #options: CatalogOptions;
  readonly #checkUtf8: boolean;
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
  }

  /** Throws what the server answers as a VarveError, as every method does. */
  static async open(options: CatalogOptions): Promise<Catalog> {
    return new Catalog(options, await holdsAnyBytes(options.client));
  }

  /**
   * All selected tables, by name, without generated columns, which the log leaves out too. Two round trips.
   */
  async tables(): Promise<CatalogTable[]> {
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
      const prepared = this.#prepare(relation, evidence, { types: facts.types, texts });
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
      facts,
    );
    this.#logged.set(tableText(name), table.schema);
    return { table, truncatable: !isLeaf };
  }

  #prepare(relation: RelationMessage, evidence: Evidence, { types, texts }: TypeFacts): PreparedTable {
    const name: TableName = [relation.schema, relation.name];
    const ids = matchColumns(relation.columns, evidence);
    const key = findKey(relation, ids, evidence);
    const relaxed = this.#relaxed.get(tableText(name));
    const shapes = relation.columns.map((logged, at): ColumnShape => {
      const id = ids[at] as number;
      const live = evidence.live?.columns.find((column) => column.id === id && !column.dropped);
      const former = evidence.previous?.columns.find((column) => column.id === id);
      const isRequired = live?.notNull ?? former?.optional === false;
      return {
        id,
        name: logged.name,
        typeOid: logged.typeOid,
        typmod: logged.typmod,
        sourceType: texts[at] as string,
        optional: !(isRequired || key.includes(id)) || relaxed?.has(id) === true,
      };
    });
    shapes.sort((a, b) => a.id - b.id);
    const columns = shapes.map((shape): Column => {
      const { typeOid, typmod, ...column } = shape;
      const live = evidence.live?.columns.find(({ id, dropped }) => id === shape.id && !dropped);
      const mapped = mapType(typeOid, typmod, types);
      const value = constantDefault(live?.default ?? null, types.get(typeOid), mapped);
      return { ...column, type: mapped.connect, ...withDefault(value) };
    });
    const at = new Map(columns.map((column, index) => [column.id, index]));
    const schema = { name, columns, key: key.map((id) => at.get(id) as number) };
    const refs = shapes.map(({ typeOid, typmod }) => ({ typeOid, typmod }));
    return this.#intern(schema, refs, () => makeEncoders({ name, columns: shapes, types }, this.#checkUtf8));
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
