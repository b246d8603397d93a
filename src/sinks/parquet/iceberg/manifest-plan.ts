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
  /** No manifest tells of files that are gone, not even of those that go now: their bounds are values. */
  forgetRemoved?: boolean;
};

const GUESSED_ENTRY_BYTES = 512;
/** Manifests that are written anyway and are smaller are written as one: most of each would be its head. */
const JOIN_BYTES = 64 << 10;

const existing = (entries: readonly ManifestEntry[]): ManifestEntry[] =>
  entries.map((entry) => (entry.status === 'existing' ? entry : { status: 'existing', file: entry.file }));

const isLive = (entry: ManifestEntry): boolean => entry.status !== 'deleted';

/** The entries that live on, in a manifest that names no other. */
const onlyLive = (
  { manifest, entries }: ManifestSource,
  removed: ReadonlySet<string>,
): ManifestDraft | null => {
  const live = entries.filter((entry) => isLive(entry) && !removed.has(entry.file.path));
  const base = { content: manifest.content, specId: manifest.specId, bytes: manifest.bytes };
  if (live.length === 0) return null;
  return live.length === entries.length
    ? { ...base, entries, kept: manifest }
    : { ...base, entries: existing(live), kept: null };
};

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

/** Drafts of one kind and spec, put together as long as they fit. */
const pack = (drafts: readonly ManifestDraft[], maxBytes: number): ManifestDraft[] => {
  const merged: ManifestDraft[] = [];
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
  for (const draft of drafts) {
    if (size + draft.bytes > maxBytes) close();
    bin.push(draft);
    size += draft.bytes;
  }
  close();
  return merged;
};

const mergeGroup = (
  drafts: readonly ManifestDraft[],
  { mergeAt, maxBytes }: MergePolicy,
): ManifestDraft[] => {
  const isSmall = ({ kept, bytes }: ManifestDraft): boolean => kept === null && bytes < JOIN_BYTES;
  const fresh = pack(drafts.filter(isSmall), Math.min(JOIN_BYTES, maxBytes));
  const all = [...drafts.filter((draft) => !isSmall(draft)), ...fresh];
  const open = all.filter((draft) => draft.bytes < maxBytes);
  if (open.length < mergeAt) return all;
  return [...all.filter((draft) => draft.bytes >= maxBytes), ...pack(open, maxBytes)];
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
    .map((source) =>
      policy.forgetRemoved === true
        ? onlyLive(source, change.removed)
        : withoutRemoved(source, change.removed, change.snapshotId),
    )
    .filter((draft) => draft !== null);
  const groups = Map.groupBy(
    [...drafts, ...addedDrafts(change.added)],
    (draft) => `${draft.content} ${draft.specId}`,
  );
  return [...groups.values()].flatMap((group) => mergeGroup(group, policy));
};
