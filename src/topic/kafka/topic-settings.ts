// Owns which settings of a topic break a guarantee, and which only weaken one. Pure: it is told the settings,
// and changes none.
import type { TopicDescription } from './admin.ts';

/** What a topic is for: the changes of a table, or the pipeline's own state. */
export type TopicRole = 'table' | 'state';

/** An `error` is refused; a `warning` is shown. `fix` is a command or an advice. */
type SettingFinding = { level: 'error' | 'warning'; what: string; fix: string };

export type TopicNeeds = {
  role: TopicRole;
  /** The largest batch that is ever written to it. */
  batchBytes: number;
};

const SAFE_REPLICAS = 3;
const SAFE_IN_SYNC = 2;
const WEEK_MS = 7 * 24 * 3_600_000;
/** What Kafka says for "no limit" of a time: the largest signed 64-bit number. */
const NO_LIMIT = '9223372036854775807';

type Given = { name: string; found: TopicDescription; needs: TopicNeeds };

/** What the settings are judged by; null where there is nothing to say. */
type Rule = (given: Given) => SettingFinding | null;

const set = (name: string, setting: string): string =>
  `kafka-configs.sh --alter --entity-type topics --entity-name ${name} --add-config ${setting}`;

const error = (what: string, fix: string): SettingFinding => ({ level: 'error', what, fix });
const warning = (what: string, fix: string): SettingFinding => ({ level: 'warning', what, fix });

const numberOf = ({ found }: Given, key: string): number | null => {
  const text = found.config.get(key);
  return text === undefined ? null : Number(text);
};

const policiesOf = ({ found }: Given): readonly string[] =>
  (found.config.get('cleanup.policy') ?? '').split(',').map((policy) => policy.trim());

const checkPolicy: Rule = (given) => {
  const { name, needs } = given;
  const policies = policiesOf(given);
  if (needs.role === 'table' && policies.includes('compact')) {
    const what = `Topic ${name} is compacted, so changes between the first and the last of a key are lost.`;
    return error(what, set(name, 'cleanup.policy=delete'));
  }
  if (needs.role === 'state' && !(policies.length === 1 && policies[0] === 'compact')) {
    const what = `Topic ${name} holds the pipeline's state, and its cleanup.policy lets records expire.`;
    return error(what, set(name, 'cleanup.policy=compact'));
  }
  return null;
};

const checkOnePartition: Rule = ({ name, found, needs }) =>
  needs.role === 'state' && found.partitions !== 1
    ? error(
        `Topic ${name} has ${found.partitions} partitions; the state must be in one, to be read in order.`,
        'Use another prefix, or delete this topic if it was never used by a pipeline.',
      )
    : null;

const checkBatch: Rule = (given) => {
  const { name, needs } = given;
  const most = numberOf(given, 'max.message.bytes');
  if (most === null || most >= needs.batchBytes) return null;
  const what = `Topic ${name} takes batches of ${most} bytes; one may have ${needs.batchBytes}.`;
  return error(what, set(name, `max.message.bytes=${needs.batchBytes}`));
};

const checkReplicas: Rule = ({ name, found }) =>
  found.replication < SAFE_REPLICAS
    ? warning(
        `Topic ${name} has ${found.replication} replica(s): a lost broker can take changes with it.`,
        `Use ${SAFE_REPLICAS} replicas (kafka-reassign-partitions.sh).`,
      )
    : null;

const checkInSync: Rule = (given) => {
  const least = numberOf(given, 'min.insync.replicas');
  const { name, found } = given;
  if (least === null || least >= SAFE_IN_SYNC || found.replication < SAFE_IN_SYNC) return null;
  const what = `Topic ${name} acknowledges what ${least} replica holds, and loses it with that broker.`;
  return warning(what, set(name, `min.insync.replicas=${SAFE_IN_SYNC}`));
};

const checkUncleanElection: Rule = ({ name, found }) =>
  found.config.get('unclean.leader.election.enable') === 'true'
    ? warning(
        `Topic ${name} may elect a leader that lacks acknowledged changes (unclean.leader.election.enable).`,
        set(name, 'unclean.leader.election.enable=false'),
      )
    : null;

const checkRetentionTime: Rule = (given) => {
  const { name, needs } = given;
  const keptMs = numberOf(given, 'retention.ms');
  if (needs.role !== 'table' || keptMs === null || keptMs < 0 || keptMs >= WEEK_MS) return null;
  const hours = Math.floor(keptMs / 3_600_000);
  const what = `Topic ${name} keeps changes for ${hours} h; a table that stands longer must be read anew.`;
  return warning(what, set(name, `retention.ms=${WEEK_MS}`));
};

const checkRetentionBytes: Rule = (given) => {
  const { name, needs } = given;
  const kept = numberOf(given, 'retention.bytes');
  if (needs.role !== 'table' || kept === null || kept < 0) return null;
  const what = `Topic ${name} keeps ${kept} bytes a partition; a burst may push out unread changes.`;
  return warning(what, set(name, 'retention.bytes=-1'));
};

const checkOldTimestamps: Rule = ({ name, found }) => {
  const limit = found.config.get('message.timestamp.before.max.ms');
  if (limit === undefined || limit === NO_LIMIT) return null;
  const what = `Topic ${name} refuses records older than ${limit} ms, so a long stop cannot be made up for.`;
  return warning(what, set(name, `message.timestamp.before.max.ms=${NO_LIMIT}`));
};

const checkTimestampType: Rule = ({ name, found }) =>
  found.config.get('message.timestamp.type') === 'LogAppendTime'
    ? warning(
        `Topic ${name} replaces the records' times by the broker's, so readers see no commit time there.`,
        set(name, 'message.timestamp.type=CreateTime'),
      )
    : null;

const checkCompression: Rule = ({ name, found }) => {
  const kind = found.config.get('compression.type') ?? 'producer';
  if (kind === 'producer') return null;
  const what = `Topic ${name} packs every batch again (compression.type=${kind}), at the brokers' cost.`;
  return warning(what, set(name, 'compression.type=producer'));
};

const RULES: readonly Rule[] = [
  checkPolicy,
  checkOnePartition,
  checkBatch,
  checkReplicas,
  checkInSync,
  checkUncleanElection,
  checkRetentionTime,
  checkRetentionBytes,
  checkOldTimestamps,
  checkTimestampType,
  checkCompression,
];

/** What is wrong with a topic that exists, errors first; empty: nothing. */
export const verifySettings = (
  name: string,
  found: TopicDescription,
  needs: TopicNeeds,
): readonly SettingFinding[] =>
  RULES.flatMap((rule) => rule({ name, found, needs }) ?? []).sort((a, b) => a.level.localeCompare(b.level));
