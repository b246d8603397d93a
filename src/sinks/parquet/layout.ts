// Owns names: directories of tables, metadata files, data files, and which URIs mean one file. Pure: no disk,
// no clock.
import { VarveError } from '../../errors.ts';
import { murmur3 } from './iceberg/bucket.ts';

const utf8 = new TextEncoder();
const plain = /^[A-Za-z0-9_]$/;
/** File systems stop at 255 bytes; suffixes of ours must still fit. */
const LONGEST_NAME = 200;

/**
 * A source name as a directory name: `[A-Za-z0-9_]` stay, every other byte of its UTF-8 is `_xHH_`. A name
 * that would not fit a file system is cut and ends in `_h` and a hash of the whole. Not reversible; see
 * tableDirectories.
 */
export const directoryName = (name: string): string => {
  const bytes = utf8.encode(name);
  let text = '';
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    text += plain.test(char) ? char : `_x${byte.toString(16).toUpperCase().padStart(2, '0')}_`;
  }
  if (text.length <= LONGEST_NAME) return text;
  const hash = (murmur3(bytes) >>> 0).toString(16).padStart(8, '0');
  return `${text.slice(0, LONGEST_NAME - 10)}_h${hash}`;
};

type TableDirectory = {
  namespace: string;
  name: string;
  /** `<namespace>/<table>`, below the configured location. */
  path: string;
  /** `<namespace>/<table>__varve_state`: the companion that no catalog lists. */
  statePath: string;
};

/**
 * The directories of all tables of one pipeline. Throws config_invalid when two of them, or a table and the
 * companion of another, have names that some file system or catalog would take for one.
 */
export const tableDirectories = (
  tables: readonly { namespace: string; name: string }[],
): readonly TableDirectory[] => {
  const owners = new Map<string, string>();
  return tables.map(({ namespace, name }) => {
    const label = `${namespace}.${name}`;
    if (namespace === '' || name === '')
      throw new VarveError(
        'config_invalid',
        `The table ${label} has an empty name; it cannot have a directory.`,
      );
    const path = `${directoryName(namespace)}/${directoryName(name)}`;
    const statePath = `${path}__varve_state`;
    for (const taken of [path, statePath]) {
      const other = owners.get(taken.toLowerCase());
      if (other !== undefined && other !== label)
        throw new VarveError(
          'config_invalid',
          `The tables ${other} and ${label} would share the directory ${taken}; leave one of them out.`,
          { facts: { one: other, two: label, directory: taken } },
        );
      owners.set(taken.toLowerCase(), label);
    }
    return { namespace, name, path, statePath };
  });
};

export const metadataFile = (location: string, version: number): string =>
  `${location}/metadata/v${version}.metadata.json`;
export const hintFile = (location: string): string => `${location}/metadata/version-hint.text`;

/** Whether a file is a version's metadata, of whichever writer. */
export const isMetadata = (uri: string): boolean => /\.metadata\.json(?:\.gz)?$/.test(uri);

/** The version that a metadata file's URI names, or null for any other file. */
export const metadataVersion = (uri: string): number | null => {
  const digits = /\/metadata\/v([1-9][0-9]{0,14})\.metadata\.json$/.exec(uri)?.[1];
  return digits === undefined ? null : Number(digits);
};

export const manifestFile = (location: string, commit: string, index: number): string =>
  `${location}/metadata/${commit}-m${index}.avro`;
export const manifestListFile = (location: string, snapshotId: bigint, commit: string): string =>
  `${location}/metadata/snap-${snapshotId}-${commit}.avro`;

/** No `k=v` directories: readers do not need them, and engines would read columns out of them. */
export const dataFile = (location: string, commit: string, index: number): string =>
  `${location}/data/${commit}-${index}.parquet`;
export const deleteFile = (location: string, commit: string, index: number): string =>
  `${location}/data/${commit}-${index}-deletes.parquet`;

/**
 * Equal for URIs that mean one file, however a writer spelled them: `file:/x`, `file:///x`; `s3a://`,
 * `s3://`.
 */
export const fileKey = (uri: string): string =>
  uri.replace(/^file:\/*(?=\/)/, 'file:').replace(/^s3[an]:/, 's3:');
