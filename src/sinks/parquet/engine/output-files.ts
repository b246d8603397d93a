// Owns the files that a merge leaves: data files with their statistics, position deletes. Names them;
// adopts none.
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import type { DuckDBMapValue, DuckDBValue } from '@duckdb/node-api';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { columnBounds } from '../iceberg/single-value.ts';
import type { ColumnStats, DataFile, IcebergField, PartitionSpec } from '../iceberg-type.ts';
import { dataFile, deleteFile } from '../layout.ts';
import type { Database } from './database.ts';
import { dropPlaces, placeRows } from './places.ts';
import type { FileFormat, SourceFile, WrittenFile } from './protocol.ts';
import { castAll, DELETE_FIELDS, fieldIds, quoteName, quoteText } from './sql.ts';

/** Small enough that one column of wide rows fits the memory limit while it is written. */
const ROW_GROUP_ROWS = 122_880;

type Compression = FileFormat['compression'];

export const CODECS: Readonly<Record<Compression, string>> = {
  zstd: 'zstd',
  snappy: 'snappy',
  lz4: 'lz4_raw',
  gzip: 'gzip',
  none: 'uncompressed',
};

/** Of small delete files: too small for it to matter that one of the codecs is not at hand. */
const DELETE_CODECS: Readonly<Record<Compression, 'ZSTD' | 'SNAPPY' | 'GZIP' | 'UNCOMPRESSED'>> = {
  zstd: 'ZSTD',
  snappy: 'SNAPPY',
  lz4: 'UNCOMPRESSED',
  gzip: 'GZIP',
  none: 'UNCOMPRESSED',
};

const zstd = (bytes: Uint8Array): Uint8Array =>
  zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });

type OutputOptions = {
  commit: string;
  location: string;
  directory: string;
  spec: PartitionSpec;
  format: FileFormat;
};

/**
 * `sort` is an ORDER BY list; null: as they come. `partition`: the first values of the tuple that all the
 * rows have, as far as the caller knows them; the others are found row by row.
 */
type DataOutput = {
  fields: readonly IcebergField[];
  sort: string | null;
  partition: DataFile['partition'];
};

/** What a COPY tells of the file it wrote. */
type CopyStats = {
  rows: number;
  bytes: number;
  columns: ReadonlyMap<string, ReadonlyMap<string, string>>;
};

const textMap = (value: DuckDBValue): ReadonlyMap<string, string> =>
  new Map((value as DuckDBMapValue).entries.map(({ key, value }) => [key as string, value as string]));

/** Writes the rows of `select` to a local Parquet file. */
export const copyRows = async (
  database: Database,
  select: string,
  { path, fields, codec = CODECS.zstd }: { path: string; fields: readonly IcebergField[]; codec?: string },
): Promise<CopyStats> => {
  const [row] = await database.rows(
    `COPY (${select}) TO ${quoteText(path)} (FORMAT parquet, COMPRESSION ${codec}, ` +
      `ROW_GROUP_SIZE ${ROW_GROUP_ROWS}, FIELD_IDS ${fieldIds(fields)}, RETURN_STATS)`,
  );
  const [, rows, bytes, , columns] = row as DuckDBValue[];
  const entries = (columns as DuckDBMapValue).entries.map(
    ({ key, value }) => [key as string, textMap(value)] as const,
  );
  return { rows: Number(rows), bytes: Number(bytes), columns: new Map(entries) };
};

const statsOf = (field: IcebergField, found: ReadonlyMap<string, string>): ColumnStats => {
  const bounds = columnBounds(field.type, {
    min: found.get('min') ?? null,
    max: found.get('max') ?? null,
    hasNan: found.get('has_nan') === 'true',
  });
  const count = (name: string): number => Number(found.get(name) ?? 0);
  return {
    bytes: count('column_size_bytes'),
    values: count('num_values'),
    nulls: count('null_count'),
    ...(bounds ?? {}),
  };
};

/** By field id; a list's are those of its elements. */
const columnStats = (fields: readonly IcebergField[], { columns }: CopyStats): Map<number, ColumnStats> => {
  const stats = new Map<number, ColumnStats>();
  for (const field of fields) {
    const { id, name, type } = field;
    const isList = typeof type !== 'string';
    const found = columns.get(isList ? `${quoteName(name)}."element"` : quoteName(name));
    if (found === undefined) continue;
    const element = isList ? { ...field, id: type['element-id'], type: type.element } : field;
    stats.set(isList ? element.id : id, statsOf(element, found));
  }
  return stats;
};

export class OutputFiles {
  readonly files: WrittenFile[] = [];
  readonly #database: Database;
  readonly #options: OutputOptions;
  #next = 0;

  constructor(database: Database, options: OutputOptions) {
    this.#database = database;
    this.#options = options;
  }

  /**
   * A data file for each partition that the rows of `from` lie in, whose columns are named by field id; none
   * when there are no rows. Returns how many rows there were.
   */
  async writeData(from: string, output: DataOutput): Promise<number> {
    const { spec } = this.#options;
    const known = output.partition.length;
    if (known >= spec.fields.length) return this.#writeFile(from, output);
    let rows = 0;
    for (const place of await placeRows(this.#database, from, { fields: output.fields, spec, known })) {
      const partition = [...output.partition, ...place.values];
      rows += await this.#writeFile(place.select, { ...output, partition });
    }
    await dropPlaces(this.#database);
    return rows;
  }

  async #writeFile(from: string, { fields, sort, partition }: DataOutput): Promise<number> {
    const { commit, location, directory, spec, format } = this.#options;
    const index = this.#next++;
    const local = join(directory, `${commit}-${index}.parquet`);
    const sorted = sort === null ? '' : ` ORDER BY ${sort}`;
    const stats = await copyRows(this.#database, `SELECT ${castAll(fields)} FROM ${from}${sorted}`, {
      path: local,
      fields,
      codec: CODECS[format.compression],
    });
    if (stats.rows === 0) return 0;
    const file: DataFile = {
      content: 'data',
      path: dataFile(location, commit, index),
      specId: spec.specId,
      partition,
      records: stats.rows,
      bytes: stats.bytes,
      stats: columnStats(fields, stats),
      referencedDataFile: null,
      ...(format.sortOrderId === 0 ? {} : { sortOrderId: format.sortOrderId }),
    };
    this.files.push({ local, file });
    return stats.rows;
  }

  /**
   * A delete file for these rows of one data file. It carries the data file's partition, whatever the
   * table's is now.
   */
  writeDeletes({ path, specId, partition }: SourceFile, positions: readonly number[]): void {
    const { commit, location, directory } = this.#options;
    const index = this.#next++;
    const local = join(directory, `${commit}-${index}-deletes.parquet`);
    const sorted = [...positions].sort((a, b) => a - b);
    const [pathField, posField] = DELETE_FIELDS as [IcebergField, IcebergField];
    const bytes = parquetWriteBuffer({
      codec: DELETE_CODECS[this.#options.format.compression],
      compressors: { ZSTD: zstd, GZIP: gzipSync },
      schema: [
        { name: 'root', num_children: 2 },
        {
          name: pathField.name,
          type: 'BYTE_ARRAY',
          converted_type: 'UTF8',
          repetition_type: 'REQUIRED',
          field_id: pathField.id,
        },
        { name: posField.name, type: 'INT64', repetition_type: 'REQUIRED', field_id: posField.id },
      ],
      columnData: [
        { name: pathField.name, data: sorted.map(() => path) },
        { name: posField.name, data: BigInt64Array.from(sorted, BigInt) },
      ],
    });
    writeFileSync(local, new Uint8Array(bytes));
    this.files.push({
      local,
      file: this.#deleteEntry({ path, specId, partition }, { index, local, sorted }, location),
    });
  }

  #deleteEntry(
    { path, specId, partition }: Pick<SourceFile, 'path' | 'specId' | 'partition'>,
    { index, local, sorted }: { index: number; local: string; sorted: readonly number[] },
    location: string,
  ): DataFile {
    const [pathField, posField] = DELETE_FIELDS as [IcebergField, IcebergField];
    const whole = new TextEncoder().encode(path);
    const count = { bytes: 0, values: sorted.length, nulls: 0 };
    const positions = columnBounds('long', { min: `${sorted[0]}`, max: `${sorted.at(-1)}`, hasNan: false });
    return {
      content: 'position_deletes',
      path: deleteFile(location, this.#options.commit, index),
      specId,
      partition,
      records: sorted.length,
      bytes: statSync(local).size,
      // Equal bounds, not cut: readers take them for the one file that these deletes belong to.
      stats: new Map([
        [pathField.id, { ...count, lower: whole, upper: whole }],
        [posField.id, { ...count, ...(positions ?? {}) }],
      ]),
      referencedDataFile: path,
    };
  }
}
