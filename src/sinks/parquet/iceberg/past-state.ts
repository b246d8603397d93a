// Owns a table as one of its earlier snapshots has it, and finding the commit that did something. Reads only;
// knows no key and no row.
import { VarveError } from '../../../errors.ts';
import type { Store } from '../store.ts';
import { ancestry, type Snapshot, snapshotById } from './metadata.ts';
import { makeState, readManifestList, type TableState } from './table-state.ts';

/** A table's snapshots as people name them, newest first. */
const snapshotText = ({ metadata }: TableState, limit = 5): string => {
  const ids = metadata.snapshots
    .toSorted((a, b) => b['sequence-number'] - a['sequence-number'])
    .map((snapshot) => `${snapshot['snapshot-id']} (${new Date(snapshot['timestamp-ms']).toISOString()})`);
  if (ids.length === 0) return 'none';
  return ids.length <= limit
    ? ids.join(', ')
    : `${ids.slice(0, limit).join(', ')} and ${ids.length - limit} older ones`;
};

/**
 * The table as that snapshot has it: its files, and its columns. Shares what was read with `state`. Throws
 * `usage` for a snapshot that the table does not have (any more), `table_corrupt` for one without its files.
 */
export const stateAt = async (store: Store, state: TableState, id: bigint): Promise<TableState> => {
  const { metadata, location } = state;
  const snapshot = snapshotById(metadata, id);
  if (snapshot === null)
    throw new VarveError(
      'usage',
      `${location} has no snapshot ${id}: it never had, or it has expired. It has ${snapshotText(state)}.`,
      { facts: { snapshot: id } },
    );
  const list = snapshot['manifest-list'];
  const manifests = await readManifestList(store, list);
  if (manifests === null)
    throw new VarveError('table_corrupt', `The manifest list ${list} is missing; restore it.`, {
      facts: { location, snapshot: id },
    });
  const schema = snapshot['schema-id'] ?? metadata['current-schema-id'];
  const then = { ...metadata, 'current-snapshot-id': snapshot['snapshot-id'], 'current-schema-id': schema };
  return makeState(then, { ...state, manifests });
};

/** What is known of a table commit. */
export type FoundCommit =
  | { kind: 'found'; snapshot: Snapshot }
  /** The oldest snapshot that is kept has it already: it is that one, or one before. */
  | { kind: 'expired'; oldest: Snapshot }
  /** No snapshot has it yet. */
  | { kind: 'none' };

/**
 * The oldest snapshot of main's line for which `has` holds, where it holds for all later ones: the commit
 * that brought it. Snapshots of other writers say nothing: null.
 */
export const findCommit = (
  { metadata }: TableState,
  has: (summary: Readonly<Record<string, string>>) => boolean | null,
): FoundCommit => {
  let found: Snapshot | null = null;
  for (const snapshot of ancestry(metadata)) {
    const answer = has(snapshot.summary);
    if (answer === false) return found === null ? { kind: 'none' } : { kind: 'found', snapshot: found };
    if (answer === true) found = snapshot;
    const parent = snapshot['parent-snapshot-id'] ?? null;
    if (parent === null && found !== null) return { kind: 'found', snapshot: found };
    if (parent === null) return { kind: 'none' };
    if (snapshotById(metadata, BigInt(parent)) === null && found !== null)
      return { kind: 'expired', oldest: snapshot };
  }
  return { kind: 'none' };
};
