// Owns exporting a table: which files hold the rows, the engine that writes them, and the manifest that says
// what they are. Reads the table, and changes nothing of it.
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import type { TableLayout } from './columns-layout.ts';
import { Engine } from './engine/engine.ts';
import type { ExportedFile, ExportPart, ExportRequest, FileFormat } from './engine/protocol.ts';
import { measure, sha256Of } from './export-files.ts';
import { readParts } from './export-parts.ts';
import type { ExportPlace } from './export-place.ts';
import { findFiles } from './iceberg/prune.ts';
import { summaryValue } from './iceberg/table-state.ts';
import type { AskedTable } from './query.ts';
import { wishesOf } from './query-files.ts';

const LOOK_EVERY_MS = 500;

type ExportOptions = {
  table: AskedTable;
  /** Its columns, as they shall be called. */
  layout: TableLayout;
  rows: ExportRequest['rows'];
  /** `column`, `day(column)` or `hour(column)`. */
  partitionBy: readonly string[];
  fileBytes: number;
  compression: FileFormat['compression'];
  memoryBytes: number;
  /** What the manifest says besides: the table's name, when it was exported. */
  about: Readonly<Record<string, unknown>>;
  onProgress: (done: { files: number; bytes: number }) => void;
};

type ManifestFile = Pick<ExportedFile, 'path' | 'rows' | 'bytes'> & {
  sha256: string;
  partition: Readonly<Record<string, string | null>>;
};

type ExportManifest = {
  rows: number;
  bytes: number;
  files: readonly ManifestFile[];
  [fact: string]: unknown;
};

const refuseSchema = (): never => {
  throw new VarveError('internal', 'An export asked for a schema of the topic.');
};

const writeFiles = async (
  options: ExportOptions,
  parts: readonly ExportPart[],
  { scratch, files }: ExportPlace,
): Promise<readonly ExportedFile[]> => {
  const { table, layout, rows, compression, fileBytes, memoryBytes, onProgress } = options;
  const wishes = rows.kind === 'versions' ? [] : wishesOf(rows, table.layout);
  const found = await findFiles(table.io.store, table.state, wishes);
  const data = found.data.map(({ path, specId, partition, records, bytes }) => ({
    path,
    specId,
    partition,
    records,
    bytes,
  }));
  const deletes = found.deletes.map(({ path, referencedDataFile, bytes }) => ({
    path,
    referencedDataFile,
    bytes,
  }));
  const request: ExportRequest = { layout, data, deletes, rows, parts, compression, fileBytes, into: files };
  const memoryLimit = `${memoryBytes >> 20}MiB`;
  await using engine = new Engine({ memoryLimit, threads: 2, directory: scratch, idleMs: 1000 });
  const look = (): void => void measure(files).then(onProgress, () => undefined);
  const looking = setInterval(look, LOOK_EVERY_MS);
  try {
    using copies = table.io.store.lease();
    return (await engine.export(request, { localCopy: copies.localCopy, schema: refuseSchema })).files;
  } finally {
    clearInterval(looking);
  }
};

/** What was asked for, and what of the table it is. */
const tableFacts = ({ table: { state, layout: own }, layout, rows }: ExportOptions) => {
  const { snapshot } = state;
  const at =
    rows.kind !== 'asOf' ? null : 'ts' in rows.at ? { time_us: rows.at.ts } : { order: rows.at.order };
  return {
    format: 'varve-export',
    version: 1,
    content: rows.kind === 'versions' ? 'history' : 'current',
    at,
    location: state.location,
    table_uuid: state.uuid,
    snapshot: snapshot === null ? null : String(snapshot['snapshot-id']),
    snapshot_at: snapshot === null ? null : new Date(snapshot['timestamp-ms']).toISOString(),
    cut: summaryValue(state, 'varve.cut') || null,
    mode: own.mode,
    key: own.key.map((id) => layout.fields.find((field) => field.id === id)?.name ?? null),
    columns: layout.fields.map(({ id, name, type, required }) => ({ id, name, type, required })),
  };
};

const manifestText = (manifest: ExportManifest): string =>
  `${JSON.stringify(manifest, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value), 2)}\n`;

/**
 * Writes the rows to files in `place`, which then appear together with their manifest; gives that. Throws
 * `usage` for a moment or a partitioning that does not fit the table, and for a place that has filled
 * meanwhile.
 */
export const exportTable = async (options: ExportOptions, place: ExportPlace): Promise<ExportManifest> => {
  const { layout, partitionBy, compression, about, onProgress } = options;
  const parts = readParts(partitionBy, layout.fields);
  const written = await writeFiles(options, parts, place);
  const files: ManifestFile[] = [];
  for (const { path, rows, bytes, values } of written) {
    const partition = Object.fromEntries(parts.map(({ name }, at) => [name, values[at] ?? null]));
    files.push({ path, rows, bytes, sha256: await sha256Of(join(place.files, path)), partition });
  }
  onProgress({ files: files.length, bytes: files.reduce((sum, file) => sum + file.bytes, 0) });
  const manifest: ExportManifest = {
    ...about,
    ...tableFacts(options),
    partition_by: partitionBy,
    compression,
    rows: files.reduce((sum, file) => sum + file.rows, 0),
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    files,
  };
  await place.publish(
    files.map(({ path }) => path),
    Buffer.from(manifestText(manifest)),
  );
  return manifest;
};
