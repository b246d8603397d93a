// Owns the one DuckDB connection of an engine: its limits, running SQL, columns in and columns out. Knows
// no table.
import './whole-text.ts';
import {
  type DuckDBAppender,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  DuckDBScalarFunction,
  type DuckDBValue,
} from '@duckdb/node-api';
import type { EngineValue } from '../columns-value.ts';
import type { IcebergType } from '../iceberg-type.ts';
import { codecOf } from './engine-value.ts';
import type { EngineSettings } from './protocol.ts';
import { quoteText } from './sql.ts';

/** DuckDB's own size of a vector. */
const CHUNK_ROWS = 2048;

type SqlFunction = {
  takes: IcebergType;
  gives: IcebergType;
  value: (value: EngineValue) => EngineValue;
};

export type ColumnInput = { type: IcebergType; value: (row: number) => EngineValue };

/** Rows of different lanes come to lie in chunks of their own: who reads one lane can skip the others'. */
const LANES = 16;

/** Fills a table row by row. Until it is disposed of, nothing else may use the database. */
export class TableAppender implements AsyncDisposable {
  readonly #appender: DuckDBAppender;
  readonly #codecs: readonly ReturnType<typeof codecOf>[];
  /** By lane, by column. */
  readonly #lanes: DuckDBValue[][][] = [];

  constructor(appender: DuckDBAppender, types: readonly IcebergType[]) {
    this.#appender = appender;
    this.#codecs = types.map(codecOf);
    for (let lane = 0; lane < LANES; lane++) this.#lanes.push(types.map(() => []));
  }

  /** Takes one value a column. */
  add(values: readonly EngineValue[], lane: number): void {
    const columns = this.#lanes[lane % LANES]!;
    for (let at = 0; at < columns.length; at++) {
      const value = values[at] ?? null;
      const { wrap } = this.#codecs[at]!;
      columns[at]!.push(wrap === null || value === null ? (value as DuckDBValue) : wrap(value));
    }
    if (columns[0]!.length === CHUNK_ROWS) this.#flush(columns);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const columns of this.#lanes) this.#flush(columns);
    } finally {
      this.#appender.closeSync();
    }
  }

  #flush(columns: DuckDBValue[][]): void {
    if (columns[0]!.length === 0) return;
    const chunk = DuckDBDataChunk.create(this.#codecs.map(({ type }) => type));
    chunk.setColumns(columns);
    this.#appender.appendDataChunk(chunk);
    for (const column of columns) column.length = 0;
  }
}

export class Database implements AsyncDisposable {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #functions = new Set<string>();

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance;
    this.#connection = connection;
  }

  static async open({ memoryLimit, threads, directory }: EngineSettings): Promise<Database> {
    const instance = await DuckDBInstance.create(':memory:', {
      memory_limit: memoryLimit,
      threads: `${threads}`,
      temp_directory: directory,
      // Row order is made by ORDER BY where it matters; keeping it everywhere costs memory.
      preserve_insertion_order: 'false',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    });
    const database = new Database(instance, await instance.connect());
    await database.run("SET TimeZone = 'UTC'");
    // Joins run as they are written, the smaller side last. What is guessed of files made the larger side,
    // whole rows of the table, the one that is kept in memory: five times the time, and twice the memory.
    await database.run("SET disabled_optimizers = 'join_order,build_side_probe_side'");
    // Data files never change once they are written.
    await database.run('SET parquet_metadata_cache = true');
    return database;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }

  async run(sql: string): Promise<void> {
    await this.#connection.run(sql);
  }

  /** Rows as plain values of DuckDB, for results of a few rows. */
  async rows(sql: string): Promise<DuckDBValue[][]> {
    return (await this.#connection.run(sql)).getRows();
  }

  /** Visits a large result chunk by chunk: `columns[c][i]` are engine values of the given types. */
  async read(
    sql: string,
    types: readonly IcebergType[],
    visit: (columns: readonly (readonly EngineValue[])[], rows: number) => void,
  ): Promise<void> {
    const unwraps = types.map((type) => codecOf(type).unwrap);
    const result = await this.#connection.stream(sql);
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      const columns = unwraps.map((unwrap, column) => {
        const values = chunk.getColumnValues(column) as EngineValue[];
        if (unwrap === null) return values;
        for (let row = 0; row < values.length; row++) {
          const value = values[row] as DuckDBValue;
          if (value !== null) values[row] = unwrap(value);
        }
        return values;
      });
      visit(columns, chunk.rowCount);
    }
  }

  /** As `read`, for SQL with a part that is not ours: throws when it is more than one statement. */
  async readOne(
    sql: string,
    types: readonly IcebergType[],
    visit: (columns: readonly (readonly EngineValue[])[], rows: number) => void,
  ): Promise<void> {
    const statements = await this.#connection.extractStatements(sql);
    if (statements.count !== 1) throw new Error('Parser Error: more than one statement');
    await this.read(sql, types, visit);
  }

  async appender(table: string, types: readonly IcebergType[]): Promise<TableAppender> {
    return new TableAppender(await this.#connection.createAppender(table), types);
  }

  /** Appends `rows` rows to a table whose columns are these, a column at a time. */
  async append(table: string, columns: readonly ColumnInput[], rows: number): Promise<void> {
    const codecs = columns.map(({ type }) => codecOf(type));
    const types = codecs.map(({ type }) => type);
    const appender = await this.#connection.createAppender(table);
    try {
      for (let start = 0; start < rows; start += CHUNK_ROWS) {
        const count = Math.min(CHUNK_ROWS, rows - start);
        const chunk = DuckDBDataChunk.create(types, count);
        columns.forEach(({ value }, at) => {
          const wrap = codecs[at]?.wrap ?? null;
          const vector = chunk.getColumnVector(at);
          for (let row = 0; row < count; row++) {
            const item = value(start + row);
            vector.setItem(row, wrap === null || item === null ? (item as DuckDBValue) : wrap(item));
          }
          vector.flush();
        });
        appender.appendDataChunk(chunk);
      }
    } finally {
      appender.closeSync();
    }
  }

  /** Makes a function of one value for SQL; null stays null. A name means one function for good. */
  define(name: string, { takes, gives, value }: SqlFunction): void {
    if (this.#functions.has(name)) return;
    const [input, output] = [codecOf(takes), codecOf(gives)];
    const ofItem = (item: DuckDBValue): DuckDBValue => {
      if (item === null) return null;
      const result = value(input.unwrap === null ? (item as EngineValue) : input.unwrap(item));
      return output.wrap === null || result === null ? (result as DuckDBValue) : output.wrap(result);
    };
    this.#connection.registerScalarFunction(
      DuckDBScalarFunction.create({
        name,
        parameterTypes: [input.type],
        returnType: output.type,
        mainFunction: (_info, chunk, results) => {
          const items = chunk.getColumnVector(0);
          for (let row = 0; row < chunk.rowCount; row++) results.setItem(row, ofItem(items.getItem(row)));
          results.flush();
        },
      }),
    );
    this.#functions.add(name);
  }

  /** From now on nothing but these files can be read, nothing written, no setting changed. */
  async lock(paths: readonly string[]): Promise<void> {
    await this.run(`SET allowed_paths = [${paths.map(quoteText).join(', ')}]`);
    await this.run('SET enable_external_access = false');
    await this.run('SET lock_configuration = true');
  }
}
