// Owns a snapshot's summary: what was added and removed, and totals that are counted from the files, never
// guessed from a parent that another writer may have left without them. Pure.
import type { LiveFile } from '../iceberg-type.ts';
import { partitionKey } from './partition.ts';

export type Operation = 'append' | 'overwrite' | 'delete' | 'replace';

type Counts = { dataFiles: number; records: number; deleteFiles: number; positions: number; bytes: number };

const count = (files: Iterable<LiveFile>): Counts => {
  const counts = { dataFiles: 0, records: 0, deleteFiles: 0, positions: 0, bytes: 0 };
  for (const file of files) {
    counts.bytes += file.bytes;
    if (file.content === 'data') {
      counts.dataFiles++;
      counts.records += file.records;
    } else {
      counts.deleteFiles++;
      counts.positions += file.records;
    }
  }
  return counts;
};

/** `live`: the files of the new snapshot. Keys with the value zero are left out, totals never. */
export const summarize = (
  operation: Operation,
  files: { added: readonly LiveFile[]; removed: readonly LiveFile[]; live: Iterable<LiveFile> },
  own: Readonly<Record<string, string>>,
): Record<string, string> => {
  const [added, removed, total] = [count(files.added), count(files.removed), count(files.live)];
  const changed: Record<string, number> = {
    'added-data-files': added.dataFiles,
    'added-records': added.records,
    'added-delete-files': added.deleteFiles,
    'added-position-delete-files': added.deleteFiles,
    'added-position-deletes': added.positions,
    'added-files-size': added.bytes,
    'deleted-data-files': removed.dataFiles,
    'deleted-records': removed.records,
    'removed-delete-files': removed.deleteFiles,
    'removed-position-delete-files': removed.deleteFiles,
    'removed-position-deletes': removed.positions,
    'removed-files-size': removed.bytes,
  };
  const totals: Record<string, number> = {
    'changed-partition-count': new Set([...files.added, ...files.removed].map(partitionKey)).size,
    'total-data-files': total.dataFiles,
    'total-records': total.records,
    'total-delete-files': total.deleteFiles,
    'total-position-deletes': total.positions,
    'total-equality-deletes': 0,
    'total-files-size': total.bytes,
  };
  const counted = [...Object.entries(changed).filter(([, value]) => value !== 0), ...Object.entries(totals)];
  return { operation, ...Object.fromEntries(counted.map(([key, value]) => [key, String(value)])), ...own };
};
