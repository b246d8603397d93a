// Owns who the source is: cluster, timeline and database; and whether a cluster that was promoted goes on
// where we were. Knows no slot and no checkpoint record; positions are handed in.
import type pg from 'pg';
import type { Identity } from '../../src/connector.ts';
import { VarveError } from '../../src/errors.ts';
import { formatLsn, parseLsn } from './lsn.ts';

type SourceIdentity = {
  systemId: string;
  timeline: number;
  database: string;
  /** Tells a database from one that was dropped and made again under its name. */
  databaseOid: string;
};

/** @param replication a replication connection that streams nothing yet */
export const readIdentity = async (
  replication: pg.ClientBase,
  side: pg.ClientBase,
): Promise<SourceIdentity> => {
  const system = (await replication.query('IDENTIFY_SYSTEM')).rows[0];
  const { rows } = await side.query(
    'SELECT datname AS name, oid::text AS oid FROM pg_database WHERE datname = current_database()',
  );
  return {
    systemId: String(system.systemid),
    timeline: Number(system.timeline),
    database: rows[0].name,
    databaseOid: rows[0].oid,
  };
};

export const printIdentity = ({
  systemId,
  timeline,
  database,
  databaseOid,
}: SourceIdentity): Record<string, string> => ({
  system_id: systemId,
  timeline: String(timeline),
  database,
  database_oid: databaseOid,
});

/**
 * Compares what is with what was. Throws `source_changed` for another cluster or database, `source_rewound`
 * for a lower timeline. A higher timeline is a promotion; whether it is continuous, `verifyTimeline` tells.
 */
export const compareIdentity = (stored: Identity, now: SourceIdentity): void => {
  const current = printIdentity(now);
  const names = { system_id: 'cluster', database: 'database', database_oid: 'database' };
  for (const [key, what] of Object.entries(names)) {
    if (stored[key] === current[key]) continue;
    throw new VarveError(
      'source_changed',
      `This is another ${what} than the one this pipeline has read: ${key} was ${stored[key]}, is ` +
        `${current[key]}. ` +
        'Correct the address; or, if the source was replaced for good, run varve snapshot FILE --all: it ' +
        'reads every table again and keeps what the tables remember. varve reset FILE starts with nothing.',
      { facts: { [`${key}_before`]: stored[key] ?? null, [`${key}_now`]: current[key] ?? null } },
    );
  }
  if (now.timeline >= Number(stored.timeline)) return;
  throw new VarveError(
    'source_rewound',
    `The source went back in time: its timeline was ${stored.timeline}, is ${now.timeline}; it was ` +
      'restored from an older copy. Run varve snapshot FILE --all to read the tables again.',
    { facts: { timeline_before: stored.timeline ?? null, timeline_now: now.timeline } },
  );
};

/**
 * After a promotion: the new timeline must have left the old one at or after our checkpoint, otherwise we
 * have published changes that it never had. Throws `source_rewound`.
 */
export const verifyTimeline = async (
  replication: pg.ClientBase,
  stored: Identity,
  after: bigint,
): Promise<void> => {
  const before = Number(stored.timeline);
  const now = Number((await replication.query('IDENTIFY_SYSTEM')).rows[0].timeline);
  if (now <= before) return;
  const content = (await replication.query(`TIMELINE_HISTORY ${now}`)).rows[0].content;
  const forkedAt = findFork(content.toString(), before);
  if (forkedAt !== null && forkedAt >= after) return;
  const fork = forkedAt === null ? 'does not descend from ours' : `left our log at ${formatLsn(forkedAt)}`;
  throw new VarveError(
    'source_rewound',
    `The source was promoted from timeline ${before} to ${now}, and the new primary ${fork}, but ` +
      `changes up to ${formatLsn(after)} are published already: some of them never happened there. ` +
      'Run varve snapshot FILE --all to read the tables again.',
    { facts: { timeline_before: before, timeline_now: now, checkpoint: formatLsn(after) } },
  );
};

/**
 * Where the history leaves `timeline`; null when it never was on it. Lines: `<timeline> TAB <position> TAB
 * <reason>`.
 */
export const findFork = (history: string, timeline: number): bigint | null => {
  for (const line of history.split('\n')) {
    const [parent, position] = line.trim().split(/\s+/);
    if (Number(parent) === timeline && position) return parseLsn(position);
  }
  return null;
};
