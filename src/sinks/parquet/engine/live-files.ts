// Owns the live files of a table as the engine sees them: where they lie on this machine, which rows of
// them are deleted. Knows no key and no rule.
import { refuseOtherSize } from './damage.ts';
import type { Database } from './database.ts';
import type { OutputFiles } from './output-files.ts';
import type { DeleteFile, SourceFile, TableFiles } from './protocol.ts';
import { DELETE_FIELDS, scanFiles } from './sql.ts';

type LiveData = SourceFile & { local: string; index: number };

export type AskLocal = (uri: string) => Promise<string>;

/** The files whose rows stand: all, where none is kept that does not. */
export const currentFiles = ({ layout, data }: Pick<TableFiles, 'layout' | 'data'>): readonly SourceFile[] =>
  layout.mode === 'scd2' ? data.filter(({ partition }) => partition[0] === true) : data;

export class LiveFiles {
  /** Files that were asked for, by `index`. */
  readonly opened: LiveData[] = [];
  /** Deleted rows of opened files, by `index`, before this merge. */
  readonly deleted = new Map<number, number>();
  readonly #database: Database;
  readonly #askLocal: AskLocal;
  readonly #deletes: readonly DeleteFile[];
  readonly #byPath = new Map<string, LiveData>();
  readonly #loaded = new Set<string>();

  constructor(database: Database, askLocal: AskLocal, deletes: readonly DeleteFile[]) {
    this.#database = database;
    this.#askLocal = askLocal;
    this.#deletes = deletes;
  }

  /** Tables `live_file` (local, uri, file) and `deleted_row` (file, pos), both empty. */
  async prepare(): Promise<void> {
    await this.#database.run(
      'CREATE OR REPLACE TEMP TABLE live_file (local VARCHAR, uri VARCHAR, file INTEGER)',
    );
    await this.#database.run('CREATE OR REPLACE TEMP TABLE deleted_row (file INTEGER, pos BIGINT)');
  }

  /**
   * Makes these files and the deletes of their rows ready; returns them with their local paths. Throws
   * `table_corrupt` for one that has another length than its manifest says.
   */
  async open(files: readonly SourceFile[]): Promise<readonly LiveData[]> {
    const fresh = files.filter(({ path }) => !this.#byPath.has(path));
    const first = this.opened.length;
    for (const file of fresh) {
      const local = await this.#askLocal(file.path);
      refuseOtherSize(file, local);
      const live = { ...file, local, index: this.opened.length };
      this.opened.push(live);
      this.#byPath.set(file.path, live);
    }
    const added = this.opened.slice(first);
    await this.#database.append(
      'live_file',
      [
        { type: 'string', value: (row) => added[row]!.local },
        { type: 'string', value: (row) => added[row]!.path },
        { type: 'int', value: (row) => added[row]!.index },
      ],
      added.length,
    );
    await this.#openDeletes(new Set(fresh.map(({ path }) => path)));
    return files.map(({ path }) => this.#byPath.get(path) as LiveData);
  }

  /**
   * Writes deletes for these rows, by file; a file of which no row is left goes as a whole, with the delete
   * files that belong to it alone. Returns the paths of what goes.
   */
  removeRows(positions: ReadonlyMap<number, readonly number[]>, output: OutputFiles): string[] {
    const gone: string[] = [];
    for (const [index, list] of positions) {
      const file = this.opened[index]!;
      const isLeft = list.length + (this.deleted.get(index) ?? 0) < file.records;
      if (isLeft) output.writeDeletes(file, list);
      else gone.push(file.path);
    }
    const whole = new Set(gone);
    for (const { path, referencedDataFile } of this.#deletes)
      if (referencedDataFile !== null && whole.has(referencedDataFile)) gone.push(path);
    return gone;
  }

  async #openDeletes(paths: ReadonlySet<string>): Promise<void> {
    if (paths.size === 0) return;
    const wanted = this.#deletes.filter(({ referencedDataFile }) => {
      return referencedDataFile === null || paths.has(referencedDataFile);
    });
    const locals: string[] = [];
    for (const file of wanted) {
      const { path, referencedDataFile } = file;
      // One that names no file may hit any; its rows are read again for the files that are new.
      if (referencedDataFile !== null && this.#loaded.has(path)) continue;
      this.#loaded.add(path);
      const local = await this.#askLocal(path);
      refuseOtherSize(file, local);
      locals.push(local);
    }
    if (locals.length === 0) return;
    const first = this.opened.length - paths.size;
    const [path, pos] = ['f2147483546', 'f2147483545'];
    await this.#database.run(
      `INSERT INTO deleted_row SELECT DISTINCT l.file, d.${pos} FROM ${scanFiles(locals, DELETE_FIELDS)} d ` +
        `JOIN live_file l ON l.uri = d.${path} WHERE l.file >= ${first}`,
    );
    const counts = await this.#database.rows(
      `SELECT file, count(*) FROM deleted_row WHERE file >= ${first} GROUP BY file`,
    );
    for (const [file, count] of counts) this.deleted.set(file as number, Number(count));
  }
}
