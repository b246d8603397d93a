// A program that writes the same rows to a Parquet file, with the engine's own way (columns into DuckDB, COPY
// with zstd) or with parquetjs-lite (objects, gzip), and prints how long that took.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { EngineValue } from '../src/sinks/parquet/columns-value.ts';
import { Database } from '../src/sinks/parquet/engine/database.ts';
import { copyRows } from '../src/sinks/parquet/engine/output-files.ts';
import { castAll, columnDefinitions } from '../src/sinks/parquet/engine/sql.ts';
import type { IcebergField, IcebergPrimitive } from '../src/sinks/parquet/iceberg-type.ts';
import { answer, readRequest } from './measure.ts';

export type ParquetRequest = { library: 'varve' | 'parquetjs-lite'; rows: number; directory: string };

const { library, rows, directory } = readRequest<ParquetRequest>();
const START_US = BigInt(Date.UTC(2026, 0, 1)) * 1000n;

type Column = { name: string; type: IcebergPrimitive; peer: string; value: (row: number) => EngineValue };
const COLUMNS: readonly Column[] = [
  { name: 'id', type: 'long', peer: 'INT64', value: (row) => BigInt(row) },
  { name: 'quantity', type: 'int', peer: 'INT32', value: (row) => row % 100_000 },
  { name: 'customer', type: 'string', peer: 'UTF8', value: (row) => `customer-${row}` },
  { name: 'kind', type: 'int', peer: 'INT32', value: (row) => row % 7 },
  { name: 'weight', type: 'double', peer: 'DOUBLE', value: (row) => row * 1.25 },
  { name: 'paid', type: 'boolean', peer: 'BOOLEAN', value: (row) => row % 2 === 0 },
  {
    name: 'changed_at',
    type: 'timestamptz',
    peer: 'TIMESTAMP_MICROS',
    value: (row) => START_US + BigInt(row) * 1000n,
  },
  {
    name: 'note',
    type: 'string',
    peer: 'UTF8',
    value: (row) => (row % 10 === 0 ? null : `note-abcdefghijklmnopqrs-${row % 10_000}`),
  },
];

const path = join(directory, `${library}.parquet`);

const writeOurs = async (): Promise<void> => {
  const fields = COLUMNS.map(
    ({ name, type }, at): IcebergField => ({ id: at + 1, name, type, required: false }),
  );
  await using database = await Database.open({ memoryLimit: '1024MB', threads: 2, directory });
  await database.run(`CREATE TABLE rows (${columnDefinitions(fields)})`);
  await database.append('rows', COLUMNS, rows);
  await copyRows(database, `SELECT ${castAll(fields)} FROM rows`, { path, fields });
};

type Peer = {
  ParquetSchema: new (columns: object) => object;
  ParquetWriter: {
    openFile(
      schema: object,
      path: string,
    ): Promise<{ appendRow(row: object): Promise<void>; close(): Promise<void> }>;
  };
};

const writePeer = async (): Promise<void> => {
  const peer = createRequire(import.meta.url)('parquetjs-lite') as Peer;
  const columns = COLUMNS.map(
    ({ name, peer: type }) => [name, { type, optional: true, compression: 'GZIP' }] as const,
  );
  const schema = new peer.ParquetSchema(Object.fromEntries(columns));
  const writer = await peer.ParquetWriter.openFile(schema, path);
  for (let row = 0; row < rows; row++) {
    const values = COLUMNS.map(({ name, value }) => {
      const item = value(row);
      return [name, typeof item === 'bigint' ? Number(item) : item] as const;
    });
    await writer.appendRow(Object.fromEntries(values));
  }
  await writer.close();
};

const startedMs = performance.now();
await (library === 'varve' ? writeOurs() : writePeer());
await answer({ seconds: (performance.now() - startedMs) / 1000 });
