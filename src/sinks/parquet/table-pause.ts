// Owns the pause of a table: a property that its next commit finds. Whoever sets it has taken the version
// that the sink would have made, so from then on nothing of the sink's can come between other writers'
// commits.
import { randomUUID } from 'node:crypto';
import { asVarveError, VarveError } from '../../errors.ts';
import { commit } from './iceberg/commit.ts';
import { loadTable, summaryValue, type TableIo, type TableState } from './iceberg/table-state.ts';
import { tableDirectories } from './layout.ts';
import { openStore, type TablePlace, uriBelow } from './open-store.ts';
import { readMemory } from './table-memory.ts';

const PAUSED = 'varve.paused';
/** Commits that may come in between; each is over in seconds. */
const TRIES = 50;

/** Since when, as ISO text; null: it is not. */
export const pausedSince = ({ properties }: Pick<TableState, 'properties'>): string | null =>
  properties[PAUSED] ?? null;

/** Throws `table_paused`. */
export const refusePaused = (state: TableState | null): void => {
  const since = state === null ? null : pausedSince(state);
  if (state === null || since === null) return;
  throw new VarveError(
    'table_paused',
    `${state.location} is paused since ${since}; varve resume FILE TABLE lets it go on.`,
    { facts: { location: state.location, since } },
  );
};

/** The state with the pause as it is wanted; null: there is no table. */
const set = async (io: TableIo, location: string, since: string | null): Promise<TableState | null> => {
  for (let tries = 1; ; tries++) {
    const state = await loadTable(io, location);
    if (state === null || (pausedSince(state) === null) === (since === null)) return state;
    // Where nobody could go on from, nobody is let go on.
    if (since === null) summaryValue(state, 'varve.offsets');
    try {
      return await commit(io, state, { properties: { [PAUSED]: since } });
    } catch (thrown) {
      if (asVarveError(thrown).kind !== 'commit_conflict' || tries === TRIES) throw thrown;
    }
  }
};

type Paused = {
  since: string | null;
  /** Next offset to read, by partition. */
  offsets: ReadonlyMap<number, bigint>;
};

/**
 * Pauses a table from `since` on, or with null lets it go on. Returns how it stands; durable, and no commit
 * of the sink comes after the pause. Throws `usage` where there is no table yet, and `table_foreign` for one
 * that cannot go on.
 */
export const setPause = async (
  place: TablePlace,
  table: { namespace: string; name: string },
  since: string | null,
): Promise<Paused> => {
  const opened = await openStore(place, { uuid: randomUUID, copies: null });
  const { store, catalog } = opened;
  const io = { store, catalog, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
  try {
    const [own] = tableDirectories([table]);
    const state = await set(io, uriBelow(place, own?.path ?? ''), since);
    if (state === null)
      throw new VarveError(
        'usage',
        `${table.namespace}.${table.name} has no table yet, so nothing is to be paused: varve run makes it.`,
      );
    const { offsets } = readMemory((key) => summaryValue(state, key));
    return { since: pausedSince(state), offsets };
  } finally {
    opened.close();
  }
};
