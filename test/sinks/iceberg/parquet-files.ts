// Owns real Parquet files for tests: data by DuckDB with field ids and its own statistics, position deletes
// by hyparquet-writer. Knows no table metadata.
import { readFile, stat } from 'node:fs/promises';
import { zstdCompressSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { columnBounds } from '../../../src/sinks/parquet/iceberg/single-value.ts';
import type {
  ColumnStats,
  DataFile,
  IcebergField,
  PartitionValue,
} from '../../../src/sinks/parquet/iceberg-type.ts';
import type { Store } from '../../../src/sinks/parquet/store.ts';

const SQL_TYPES: Readonly<Record<string, string>> = {
  boolean: 'BOOLEAN',
  int: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  date: 'DATE',
  time: 'TIME',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMPTZ',
  string: 'VARCHAR',
  uuid: 'UUID',
  binary: 'BLOB',
};

const sqlType = ({ type }: { type: IcebergField['type'] }): string =>
  typeof type === 'string' ? (SQL_TYPES[type] ?? type) : `${sqlType({ type: type.element })}[]`;

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

type Stats = { key: string; value: { key: string; value: string }[] }[];

const columnStats = (field: IcebergField, printed: Stats): [number, ColumnStats] | null => {
  const found = printed.find(({ key }) => key === quoted(field.name));
  if (!found) return null;
  const value = new Map(found.value.map((pair) => [pair.key, pair.value]));
  const text = {
    min: value.get('min') ?? null,
    max: value.get('max') ?? null,
    hasNan: value.get('has_nan') === 'true',
  };
  return [
    field.id,
    {
      bytes: Number(value.get('column_size_bytes')),
      values: Number(value.get('num_values')),
      nulls: Number(value.get('null_count')),
      ...columnBounds(field.type, text),
    },
  ];
};

type ParquetPlace = {
  store: Store;
  directory: string;
  uri: string;
  specId: number;
  partition: readonly PartitionValue[];
};

/** One engine for a test file. */
export class ParquetFiles {
  readonly #instance: DuckDBInstance;

  private constructor(instance: DuckDBInstance) {
    this.#instance = instance;
  }

  static async open(): Promise<ParquetFiles> {
    return new ParquetFiles(await DuckDBInstance.create(':memory:'));
  }

  [Symbol.dispose](): void {
    this.#instance.closeSync();
  }

  /** The rows of `select` (columns by name) as a data file of these columns. */
  async data(select: string, fields: readonly IcebergField[], place: ParquetPlace): Promise<DataFile> {
    const connection = await this.#instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    const columns = fields.map(
      (field) => `CAST(${quoted(field.name)} AS ${sqlType(field)}) AS ${quoted(field.name)}`,
    );
    const ids = fields.map((field) => {
      const id =
        typeof field.type === 'string'
          ? field.id
          : `{__duckdb_field_id: ${field.id}, element: ${field.type['element-id']}}`;
      return `${quoted(field.name)}: ${id}`;
    });
    const local = `${place.directory}/making.parquet`;
    const options = `FORMAT parquet, COMPRESSION zstd, RETURN_STATS, FIELD_IDS {${ids.join(', ')}}`;
    const reader = await connection.runAndReadAll(
      `COPY (SELECT ${columns.join(', ')} FROM (${select})) TO '${local}' (${options})`,
    );
    connection.closeSync();
    const [, records, bytes, , printed] = (reader.getRowsJson()[0] ?? []) as [
      string,
      string,
      string,
      string,
      unknown,
    ];
    const stats = fields.map((field) => columnStats(field, printed as Stats)).filter((one) => one !== null);
    await place.store.adopt(local, place.uri);
    return {
      content: 'data',
      path: place.uri,
      specId: place.specId,
      partition: place.partition,
      records: Number(records),
      bytes: Number(bytes),
      stats: new Map(stats),
      referencedDataFile: null,
    };
  }
}

/** A position-delete file for one data file; positions are sorted here. */
export const positionDeletes = async (
  target: DataFile,
  positions: readonly bigint[],
  { store, uri }: { store: Store; uri: string },
): Promise<DataFile> => {
  const sorted = [...positions].sort((a, b) => (a < b ? -1 : 1));
  const bytes = new Uint8Array(
    parquetWriteBuffer({
      schema: [
        { name: 'table', num_children: 2 },
        {
          name: 'file_path',
          type: 'BYTE_ARRAY',
          converted_type: 'UTF8',
          repetition_type: 'REQUIRED',
          field_id: 2147483546,
        },
        { name: 'pos', type: 'INT64', repetition_type: 'REQUIRED', field_id: 2147483545 },
      ],
      columnData: [
        { name: 'file_path', data: sorted.map(() => target.path) },
        { name: 'pos', data: sorted },
      ],
      codec: 'ZSTD',
      compressors: { ZSTD: (raw) => zstdCompressSync(raw) },
    }),
  );
  await store.createExclusive(uri, bytes);
  const path = Buffer.from(target.path);
  return {
    content: 'position_deletes',
    path: uri,
    specId: target.specId,
    partition: target.partition,
    records: sorted.length,
    bytes: bytes.length,
    stats: new Map([[2147483546, { bytes: 0, values: sorted.length, nulls: 0, lower: path, upper: path }]]),
    referencedDataFile: target.path,
  };
};

/** Field ids in a Parquet footer, by column name. */
export const footerFieldIds = async (path: string): Promise<Map<string, number>> => {
  const { parquetMetadata } = await import('hyparquet');
  const file = await readFile(path);
  const { schema } = parquetMetadata(
    file.buffer.slice(file.byteOffset, file.byteOffset + (await stat(path)).size),
  );
  return new Map(schema.flatMap((one) => (one.field_id === undefined ? [] : [[one.name, one.field_id]])));
};
