// Owns finding the rows that a table has of the touched keys: one pass over the key columns of the files
// that may hold them. Knows no rule: what it finds are versions.
import type { EngineValue } from '../columns-value.ts';
import type { IcebergField, IcebergType } from '../iceberg-type.ts';
import type { CloseReason, KeyResult, StoredVersion } from '../scd2-version.ts';
import type { Database } from './database.ts';
import { keyTextOf } from './key-text.ts';
import type { LiveFiles } from './live-files.ts';
import type { SourceFile } from './protocol.ts';
import type { RowStore } from './row-store.ts';
import { columnDefinitions, columnList, columnOf, matchKeys, scanFiles, sqlType } from './sql.ts';
import type { TableFields } from './table-fields.ts';
import type { TouchedKey, TouchedKeys } from './touched-keys.ts';

/** Where a stored row lies: `file` is an index of LiveFiles, or NO_FILE. */
type RowPlace = { file: number; pos: number };
/** Of a version that the table's companion has. */
const NO_FILE = -1;

export class StoredRows {
  /** By the rows' identity, which is also column `n` of the table `stored_row`. */
  readonly places: RowPlace[] = [];
  readonly #database: Database;
  readonly #files: LiveFiles;
  readonly #fields: TableFields;
  readonly #store: RowStore;

  constructor(parts: { database: Database; files: LiveFiles; fields: TableFields; store: RowStore }) {
    this.#database = parts.database;
    this.#files = parts.files;
    this.#fields = parts.fields;
    this.#store = parts.store;
  }

  async prepare(): Promise<void> {
    const { all } = this.#fields;
    await this.#database.run(
      'CREATE OR REPLACE TEMP TABLE stored_row ' +
        `(n BIGINT, file INTEGER, pos BIGINT, ${columnDefinitions(all)})`,
    );
  }

  /** Finds the rows of these keys that stand now. */
  async loadCurrent(touched: TouchedKeys, files: readonly SourceFile[]): Promise<void> {
    if (touched.keys.size === 0 || files.length === 0) return;
    await this.#stage([...touched.keys.values()]);
    await this.#load(touched, files, 'true');
  }

  /**
   * Finds the closed rows of these keys that end where they may change, or later, and the newest one before
   * that is no marker of a delete.
   */
  async loadHistory(
    touched: TouchedKeys,
    keys: readonly TouchedKey[],
    files: readonly SourceFile[],
  ): Promise<void> {
    if (keys.length === 0 || files.length === 0) return;
    await this.#stage(keys);
    await this.#load(touched, files, this.#isNeeded());
  }

  /** The same where the companion has the closed versions: `select` gives them, of `touched_key` alone. */
  async loadPast(touched: TouchedKeys, keys: readonly TouchedKey[], select: string): Promise<void> {
    if (keys.length === 0) return;
    await this.#stage(keys);
    const { all, key } = this.#fields;
    const from =
      `SELECT ${NO_FILE} AS file, 0 AS pos, t.first, ${columnList(all, 's')} ` +
      `FROM (${select}) s JOIN touched_key t ON ${matchKeys(key, 's', 't')}`;
    await this.#insert(touched, from, this.#isNeeded());
  }

  #isNeeded(): string {
    const order = this.#fields.column('_order');
    const end = this.#fields.column('_order_end');
    const key = columnList(this.#fields.key);
    const isRecent = `${end} IS NULL OR ${end} >= first`;
    return (
      `${isRecent} OR ${order} = ` +
      `max(CASE WHEN ${isRecent} OR ${order} = ${end} THEN NULL ELSE ${order} END) OVER (PARTITION BY ${key})`
    );
  }

  /** Adds the positions of the rows that a fold takes away, by file. */
  addRemoved(
    positions: Map<number, number[]>,
    results: readonly KeyResult<number>[],
  ): ReadonlyMap<number, number[]> {
    for (const { removed } of results)
      for (const { stored } of removed) {
        const { file, pos } = this.places[stored]!;
        if (file === NO_FILE) continue;
        const known = positions.get(file);
        if (known === undefined) positions.set(file, [pos]);
        else known.push(pos);
      }
    return positions;
  }

  /** Table `touched_key` (key columns, first). */
  async #stage(keys: readonly TouchedKey[]): Promise<void> {
    const { key } = this.#fields;
    await stageKeys(this.#database, 'touched_key', { key, keys });
  }

  async #load(touched: TouchedKeys, files: readonly SourceFile[], qualify: string): Promise<void> {
    const opened = await this.#files.open(files);
    const { all, key } = this.#fields;
    const scan = scanFiles(
      opened.map(({ local }) => local),
      all,
    );
    const from =
      `SELECT l.file, s.file_row_number AS pos, t.first, ${columnList(all, 's')} ` +
      `FROM ${scan} s JOIN touched_key t ON ${matchKeys(key, 's', 't')} ` +
      'JOIN live_file l ON l.local = s.filename';
    await this.#insert(touched, from, qualify);
  }

  /** `from` gives file, pos, first and all columns. */
  async #insert(touched: TouchedKeys, from: string, qualify: string): Promise<void> {
    const { all } = this.#fields;
    const first = this.places.length;
    await this.#database.run(
      `INSERT INTO stored_row SELECT row_number() OVER () - 1 + ${first}, file, pos, ${columnList(all)} ` +
        `FROM (${from}) m ` +
        `ANTI JOIN deleted_row d ON d.file = m.file AND d.pos = m.pos QUALIFY ${qualify}`,
    );
    await this.#read(touched, first);
  }

  async #read(touched: TouchedKeys, first: number): Promise<void> {
    const { all, user } = this.#fields;
    const types: IcebergType[] = ['long', 'int', 'long', ...all.map(({ type }) => type)];
    const readVersion = this.#versionReader();
    const incompleteAt = 3 + this.#fields.indexOf('_incomplete');
    const keyAt = this.#fields.key.map((field) => 3 + all.indexOf(field));
    await this.#database.read(
      `SELECT n, file, pos, ${columnList(all)} FROM stored_row WHERE n >= ${first}`,
      types,
      (columns, rows) => {
        const key: EngineValue[] = new Array(keyAt.length);
        const incomplete = columns[incompleteAt] as readonly (readonly string[] | null)[];
        const firstImage = this.#store.addColumns(columns.slice(3, 3 + user.length), incomplete);
        for (let row = 0; row < rows; row++) {
          for (let at = 0; at < keyAt.length; at++) key[at] = columns[keyAt[at]!]![row]!;
          const owner = touched.keys.get(keyTextOf(key));
          const n = Number(columns[0]![row]);
          this.places[n] = { file: columns[1]![row] as number, pos: Number(columns[2]![row]) };
          owner?.stored.push(readVersion(columns, row, { n, image: firstImage + row }));
        }
      },
    );
  }

  #versionReader() {
    const at = (name: string): number => 3 + this.#fields.indexOf(name);
    const own = {
      order: at('_order'),
      orderEnd: at('_order_end'),
      from: at('valid_from'),
      to: at('valid_to'),
      op: at('_op'),
      ts: at('_commit_ts'),
      tx: at('_tx'),
      previousKey: at('_previous_key'),
      closedBy: at('_closed_by'),
    };
    return (
      columns: readonly (readonly EngineValue[])[],
      row: number,
      { n, image }: { n: number; image: number },
    ): StoredVersion<number> => {
      const value = (column: number) => columns[column]![row]!;
      return {
        order: value(own.order) as string,
        orderEnd: value(own.orderEnd) as string | null,
        from: value(own.from) as bigint,
        to: value(own.to) as bigint | null,
        op: value(own.op) as string,
        ts: value(own.ts) as bigint,
        tx: (value(own.tx) as string | null) ?? '',
        image,
        previousKey: value(own.previousKey) as string | null,
        closedBy: value(own.closedBy) as CloseReason | null,
        stored: n,
      };
    };
  }
}

type KeyStage = {
  key: readonly IcebergField[];
  keys: readonly { values: readonly EngineValue[]; first: string }[];
};

/** Makes a table of keys: their columns, and `first`. */
export const stageKeys = async (
  database: Database,
  table: string,
  { key, keys }: KeyStage,
): Promise<void> => {
  const columns = key.map((field) => `${columnOf(field)} ${sqlType(field.type)}`).join(', ');
  await database.run(`CREATE OR REPLACE TEMP TABLE ${table} (${columns}, first VARCHAR)`);
  await database.append(
    table,
    [
      ...key.map(({ type }, at) => ({ type, value: (row: number) => keys[row]!.values[at]! })),
      { type: 'string', value: (row: number) => keys[row]!.first },
    ],
    keys.length,
  );
};
