// Owns telling what an erasure is about to take away, and what it cannot, before it does.
import type { Config } from '../config.ts';
import type { ErasePlan } from '../sinks/parquet/erase-search.ts';
import { isS3 } from '../sinks/parquet/s3-place.ts';
import { type HeldInTopic, retentionText } from './erase-topic.ts';

export type Planned = {
  name: string;
  plan: ErasePlan;
  held: HeldInTopic;
  /** Topics that may hold rows in bytes that no key names. */
  others: readonly string[];
  blank: readonly string[] | null;
};

const total = (files: readonly { rows: number; named: number }[], of: 'rows' | 'named'): number =>
  files.reduce((sum, file) => sum + file[of], 0);

const filesHit = ({ found }: ErasePlan): number =>
  [...found.data, ...found.state].filter(({ rows, named }) => rows + named > 0).length;

export const plannedFacts = ({ name, plan, held, others, blank }: Planned) => ({
  table: name,
  keys: plan.erased.keys.length,
  blank,
  rows: total(plan.found.data, 'rows'),
  companion_rows: total(plan.found.state, 'rows'),
  rows_naming_the_key: total(plan.found.data, 'named') + total(plan.found.state, 'named'),
  files_rewritten: filesHit(plan),
  snapshots_expired: plan.state.metadata.snapshots.length,
  files_deleted_besides: plan.unreached.length,
  topic_records: held.records,
  topic_newest: held.newestMs === 0 ? null : new Date(held.newestMs).toISOString(),
  other_topics: others,
});

/** What stays, and until when: one sentence each. */
export const remainsText = (config: Config, { held, others }: Planned): string[] => {
  const lines = [retentionText(config, held)];
  if (others.length > 0)
    lines.push(
      `${others.join(' and ')} may hold the rows as records that were set aside, by no key; look there`,
    );
  const claims = config.topic.kind === 'kafka' ? config.topic.claim_check : null;
  if (claims !== null) lines.push(`values that were too large lie in ${claims.location}; look there`);
  if (config.table !== undefined && isS3(config.table.location))
    lines.push('a bucket that keeps versions keeps what is deleted: have those versions expire');
  lines.push('where the source still has the row, its next change brings it back: delete it there first');
  return lines;
};

export const plannedText = (config: Config, planned: Planned): string[] => {
  const facts = plannedFacts(planned);
  const { name, blank } = planned;
  const what = blank === null ? 'go' : `lose ${blank.join(', ')}`;
  const named = facts.rows_naming_the_key;
  return [
    `${name}: ${facts.keys} keys, ${facts.rows} rows in all versions ${what}, ` +
      `and ${facts.companion_rows} in the companion`,
    ...(named === 0
      ? []
      : [`${named} rows of other keys, which name one of them as the key before, forget that`]),
    `${facts.files_rewritten} files are rewritten; all ${facts.snapshots_expired} snapshots so far expire, ` +
      'and their files are deleted at once, without grace: who reads an older snapshot loses it, ' +
      'and time travel by snapshot begins anew',
    ...remainsText(config, planned),
  ];
};
