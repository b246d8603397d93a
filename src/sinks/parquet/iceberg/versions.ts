// Owns which metadata files of a table may go: of versions that were replaced long ago, and of those whose
// snapshots others still name. Pure but for reading a version that it asks for.
import type { StoredFile } from '../store.ts';
import type { TableMetadata } from './metadata.ts';

export type VersionFile = StoredFile & { version: number };

/**
 * The oldest versions that nobody needs: replaced longer than `minAgeMs` ago, not in the metadata log, none
 * older left behind. Somebody may have read a version until the next one came, however old it was by then.
 */
export const retiredVersions = (
  files: readonly VersionFile[],
  logged: ReadonlySet<number>,
  { nowMs, minAgeMs, limit }: { nowMs: number; minAgeMs: number; limit: number },
): readonly VersionFile[] => {
  const sorted = files.toSorted((a, b) => a.version - b.version);
  const firstKept = sorted.findIndex(({ version }, at) => {
    const next = sorted[at + 1];
    return next === undefined || logged.has(version) || nowMs - next.modifiedMs < minAgeMs;
  });
  return sorted.slice(0, Math.min(Math.max(firstKept, 0), limit));
};

/** Whether every snapshot that was made after version `older`, up to `newer`, is still in `newer`. */
const bridges = (older: TableMetadata, newer: TableMetadata): boolean => {
  const [first, last] = [older['last-sequence-number'], newer['last-sequence-number']];
  const held = newer.snapshots.filter((snapshot) => snapshot['sequence-number'] > first).length;
  return held === last - first;
};

/**
 * Of `count` versions that follow each other: those that together name every snapshot that any of them does,
 * the first and the last among them. Each snapshot is in all versions from its own on until it expires, so
 * what lies between two versions is needed only when a snapshot came and went there.
 */
export const neededVersions = async (
  count: number,
  read: (at: number) => Promise<TableMetadata | null>,
): Promise<ReadonlySet<number>> => {
  const needed = new Set<number>();
  let older = count === 0 ? null : await read(0);
  for (let at = 0; at < count; ) {
    needed.add(at);
    let step = Math.min(older?.snapshots.length ?? 1, count - 1 - at);
    let newer = step > 1 ? await read(at + step) : null;
    while (step > 1 && (older === null || newer === null || !bridges(older, newer))) {
      step = Math.floor(step / 2);
      newer = step > 1 ? await read(at + step) : null;
    }
    at += Math.max(1, step);
    older = newer ?? (at < count ? await read(at) : null);
  }
  return needed;
};
