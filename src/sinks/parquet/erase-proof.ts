// Owns proving that an erased row has left nothing: every file that is still there is looked into, row by
// row, and so is what manifests say of values. Trusts nothing that the erasure has noted; changes nothing.
import type { EraseScanRequest, EraseScanResult, FileTruth } from './engine/protocol.ts';
import { liveFiles, readSources, type TableIo, type TableState } from './iceberg/table-state.ts';
import type { ColumnStats, IcebergType } from './iceberg-type.ts';
import { fileKey, hintFile, isMetadata } from './layout.ts';

export type Scan = (
  request: Pick<EraseScanRequest, 'data' | 'state' | 'withTruth'>,
) => Promise<EraseScanResult>;

export type Proof = {
  /** Sentences: what is left, and where. */
  findings: readonly string[];
  files: number;
  bounds: number;
};

/** Whole numbers as bounds have them: little-endian, of the width that the column had then. */
const integerOf = (bytes: Uint8Array): bigint => {
  const text = Buffer.from(bytes).reverse().toString('hex');
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${text || '0'}`));
};

const decimalOf = (bytes: Uint8Array): bigint =>
  BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`));

const floatOf = (bytes: Uint8Array): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return bytes.length === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true);
};

/** Negative, zero, positive. */
const compareBounds = (type: IcebergType, one: Uint8Array, other: Uint8Array): number => {
  if (type === 'string' || type === 'binary' || type === 'uuid') return Buffer.compare(one, other);
  if (type === 'float' || type === 'double') return floatOf(one) - floatOf(other);
  const read = typeof type === 'string' && type.startsWith('decimal') ? decimalOf : integerOf;
  const [a, b] = [read(one), read(other)];
  return a < b ? -1 : a > b ? 1 : 0;
};

type ColumnTruth = FileTruth['columns'][number];

/** A bound beyond all values that are there is a value that is not. */
const isFalse = ({ type, isEmpty, lower, upper }: ColumnTruth, stats: ColumnStats): boolean => {
  if (stats.lower === undefined && stats.upper === undefined) return false;
  if (isEmpty) return true;
  const isBelow = lower !== null && stats.lower !== undefined && compareBounds(type, stats.lower, lower) < 0;
  const isAbove = upper !== null && stats.upper !== undefined && compareBounds(type, stats.upper, upper) > 0;
  return isBelow || isAbove;
};

const boundFindings = (
  truths: readonly FileTruth[],
  stats: ReadonlyMap<string, ReadonlyMap<number, ColumnStats>>,
): { findings: string[]; bounds: number } => {
  const findings: string[] = [];
  let bounds = 0;
  for (const { path, columns } of truths)
    for (const column of columns) {
      const said = stats.get(path)?.get(column.id);
      if (said === undefined) continue;
      bounds++;
      if (isFalse(column, said))
        findings.push(`a manifest's bounds of column ${column.id} in ${path} hold a value that no row has`);
    }
  return { findings, bounds };
};

const listAll = async (io: TableIo, prefix: string): Promise<string[]> => {
  const uris: string[] = [];
  for await (const { uri } of io.store.list(prefix)) uris.push(uri);
  return uris;
};

/** URIs below the table and its companion that its newest version does not reach: nobody should. */
export const unreached = async (
  io: TableIo,
  state: TableState,
  { stateLocation, stateFiles }: { stateLocation: string; stateFiles: readonly string[] },
): Promise<readonly string[]> => {
  const { location, snapshot, manifests } = state;
  const kept = new Set([
    ...[...(await liveFiles(io.store, state)).keys()].map(fileKey),
    ...manifests.map(({ path }) => fileKey(path)),
    ...(snapshot === null ? [] : [fileKey(snapshot['manifest-list'])]),
    ...stateFiles.map(fileKey),
    fileKey(hintFile(location)),
  ]);
  const all = [...(await listAll(io, `${location}/`)), ...(await listAll(io, `${stateLocation}/`))];
  // Versions hold no values of rows, and a slow writer must find the number that it wants taken.
  return all.filter((uri) => !isMetadata(uri) && !kept.has(fileKey(uri)));
};

/** `scan`: looks into files for what was erased. */
export const proveErased = async (
  io: TableIo,
  state: TableState,
  { stateLocation, stateFiles, scan }: { stateLocation: string; stateFiles: readonly string[]; scan: Scan },
): Promise<Proof> => {
  const findings: string[] = [];
  for (const uri of await unreached(io, state, { stateLocation, stateFiles }))
    findings.push(`${uri} is no part of the table and still there`);
  const { snapshots } = state.metadata;
  if (snapshots.length > 1) findings.push(`${snapshots.length - 1} older snapshots are still named`);
  for (const { manifest, entries } of await readSources(io.store, state))
    for (const { status, file } of entries)
      if (status === 'deleted')
        findings.push(`the manifest ${manifest.path} still tells of the removed file ${file.path}`);
  const live = [...(await liveFiles(io.store, state)).values()];
  const data = live.filter(({ content }) => content === 'data');
  const found = await scan({ data: data.map(({ path }) => path), state: stateFiles, withTruth: true });
  for (const { path, rows, named } of [...found.data, ...found.state]) {
    if (rows > 0) findings.push(`${path} holds ${rows} rows of an erased key`);
    if (named > 0) findings.push(`${path} holds ${named} rows that name an erased key`);
  }
  const stats = new Map(data.map((file) => [file.path, file.stats]));
  const checked = boundFindings(found.truths, stats);
  return {
    findings: [...findings, ...checked.findings],
    files: live.length + stateFiles.length,
    bounds: checked.bounds,
  };
};
