// Owns which manifests a commit writes: one for what is added, new versions of those that lose files, and
// merged ones when there are many. Pure: decides before anything is written, so that nothing is written in
// vain.
import type { LiveFile } from '../iceberg-type.ts';
import type { ManifestEntry } from './manifest.ts';
import type { ManifestFile } from './manifest-list.ts';

export type ManifestSource = { manifest: ManifestFile; entries: readonly ManifestEntry[] };

/** A manifest that stays as it is, or the entries of one to write. */
export type ManifestDraft = {
  content: 'data' | 'deletes';
  specId: number;
  /** Exact for what is kept, a guess for the rest. */
  bytes: number;
  entries: readonly ManifestEntry[];
  kept: ManifestFile | null;
};

export type MergePolicy = {
  /** Merge when so many manifests of one kind are not full. */
  mergeAt: number;
  /** A manifest of this size is full and is not merged again. */
  maxBytes: number;
};

const GUESSED_ENTRY_BYTES = 512;

const existing = (entries: readonly ManifestEntry[]): ManifestEntry[] =>
  entries.map((entry) => (entry.status === 'existing' ? entry : { status: 'existing', file: entry.file }));

const isLive = (entry: ManifestEntry): boolean => entry.status !== 'deleted';

/** A base manifest without its removed files; null when nothing in it lives or dies. */
const withoutRemoved = (
  { manifest, entries }: ManifestSource,
  removed: ReadonlySet<string>,
  snapshotId: bigint,
): ManifestDraft | null => {
  const live = entries.filter(isLive);
  // Only tombstones: they were told once, by the snapshot that made them.
  if (live.length === 0) return null;
  const base = { content: manifest.content, specId: manifest.specId, bytes: manifest.bytes };
  if (removed.size === 0 || !live.some(({ file }) => removed.has(file.path)))
    return { ...base, entries, kept: manifest };
  return {
    ...base,
    entries: live.map(({ file }) =>
      removed.has(file.path)
        ? { status: 'deleted', file: { ...file, snapshotId } }
        : { status: 'existing', file },
    ),
    kept: null,
  };
};

const addedDrafts = (added: readonly LiveFile[]): ManifestDraft[] => {
  const groups = Map.groupBy(added, (file) => `${file.content} ${file.specId}`);
  return [...groups.values()].map((files) => ({
    content: files[0]?.content === 'data' ? 'data' : 'deletes',
    specId: files[0]?.specId ?? 0,
    bytes: files.length * GUESSED_ENTRY_BYTES,
    entries: files.map((file) => ({ status: 'added', file })),
    kept: null,
  }));
};

/** What this commit adds or removes stays told as such; all else becomes an existing entry. */
const carried = (draft: ManifestDraft): readonly ManifestEntry[] =>
  draft.kept === null ? draft.entries : existing(draft.entries.filter(isLive));

const mergeGroup = (
  drafts: readonly ManifestDraft[],
  { mergeAt, maxBytes }: MergePolicy,
): ManifestDraft[] => {
  const open = drafts.filter((draft) => draft.bytes < maxBytes);
  if (open.length < mergeAt) return [...drafts];
  const merged: ManifestDraft[] = drafts.filter((draft) => draft.bytes >= maxBytes);
  let bin: ManifestDraft[] = [];
  let size = 0;
  const close = (): void => {
    const first = bin[0];
    if (first !== undefined)
      merged.push(
        bin.length === 1 ? first : { ...first, bytes: size, entries: bin.flatMap(carried), kept: null },
      );
    bin = [];
    size = 0;
  };
  for (const draft of open) {
    if (size + draft.bytes > maxBytes) close();
    bin.push(draft);
    size += draft.bytes;
  }
  close();
  return merged;
};

/**
 * The manifests of the next snapshot. `added` files carry the sequence numbers they will have; removed paths
 * are known to live in `sources`.
 */
export const planManifests = (
  sources: readonly ManifestSource[],
  change: { added: readonly LiveFile[]; removed: ReadonlySet<string>; snapshotId: bigint },
  policy: MergePolicy,
): readonly ManifestDraft[] => {
  const drafts = sources
    .map((source) => withoutRemoved(source, change.removed, change.snapshotId))
    .filter((draft) => draft !== null);
  const groups = Map.groupBy(
    [...drafts, ...addedDrafts(change.added)],
    (draft) => `${draft.content} ${draft.specId}`,
  );
  return [...groups.values()].flatMap((group) => mergeGroup(group, policy));
};
