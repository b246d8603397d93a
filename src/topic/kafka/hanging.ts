// Owns the repair of a transaction that nobody will end: it is aborted in the partitions where it is open, if
// no partition shows it committed. What it held was confirmed to nobody, so it comes again. Guesses nothing:
// whatever does not prove to be this pipeline's own, open and never committed, is left as it is.
import { VarveError } from '../../errors.ts';
import type { KafkaClient } from './client.ts';
import { findUndecided, refuseHanging } from './guard.ts';
import type { TopicPartition } from './leaders.ts';
import { type BatchPlace, findFate, type LoggedBatch, scanLog } from './log-scan.ts';
import { comesTrue } from './patience.ts';
import { partitionKey } from './producer.ts';
import { applyStateBatch, LAST_TRANSACTION, readPlaces, stateTopic, transactionalId } from './state-topic.ts';
import {
  type ActiveProducer,
  describeProducers,
  describeTransaction,
  writeTransactionMarkers,
} from './transaction-admin.ts';

type Hanging = TopicPartition & ActiveProducer & { openSince: bigint };

/** All that one transaction wrote, as it says of itself in the state topic. */
type Told = readonly (TopicPartition & BatchPlace)[];

/** How long a coordinator that has decided may take to say so everywhere. */
const ENDING = { limitMs: 5000, pauseMs: { first: 10, most: 500 }, closing: new AbortController().signal };

type HangingQuestion = {
  client: KafkaClient;
  prefix: string;
  /** Of the tables; those that a transaction names itself are looked at as well. */
  topics: readonly string[];
};

/**
 * Aborts the hanging transaction of this pipeline; a repair that was interrupted is finished by the next one.
 * Throws `usage` when nothing hangs, `hanging_transaction` when it cannot be shown that the abort loses
 * nothing; then nothing was changed.
 */
export const abortHanging = async ({
  client,
  prefix,
  topics,
}: HangingQuestion): Promise<{ aborted: readonly TopicPartition[] }> => {
  const ours = await ownProducer(client, prefix);
  const state = { topic: stateTopic(prefix), partition: 0 };
  const told = (await client.topic(state.topic)) === null ? [] : await readTold(client, state);
  const named = told.flat().map(({ topic }) => topic);
  const all = [...new Set([state.topic, ...topics, ...named])];
  const open = await findOpen(client, all);
  if (open.length === 0)
    throw new VarveError('usage', `No transaction hangs in the topics of ${prefix}.`, { facts: { prefix } });
  const known = new Set([ours, ...told.flat().map(({ producerId }) => producerId)]);
  for (const one of open) if (!known.has(one.producerId)) throw foreign(one);
  const hanging = await openPlaces(client, open);
  for (const one of told) await refuseTorn(client, one, hanging);
  const writers = Map.groupBy(open, (one) =>
    [one.producerId, one.producerEpoch, one.coordinatorEpoch].join(' '),
  );
  for (const group of writers.values()) await abort(client, group);
  await refuseHanging(client, all, ENDING.closing);
  return { aborted: open.map(({ topic, partition }) => ({ topic, partition })) };
};

/**
 * The producer id of the prefix; null: the cluster knows none. A coordinator that writes its markers is
 * waited for a moment; refuses while it is at work.
 */
const ownProducer = async (client: KafkaClient, prefix: string): Promise<bigint | null> => {
  let known = await describeTransaction(client, transactionalId(prefix));
  const hasEnded = async (): Promise<boolean> => {
    if (!known?.state.startsWith('Prepare')) return true;
    known = await describeTransaction(client, transactionalId(prefix));
    return false;
  };
  await comesTrue(hasEnded, ENDING);
  if (known === null) return null;
  const { state, producerId } = known;
  if (state !== 'Ongoing' && !state.startsWith('Prepare')) return producerId;
  throw new VarveError(
    'hanging_transaction',
    `The transaction of ${prefix} is not hanging: its coordinator says ${state}, and ends it by itself, at ` +
      'the latest when its time is over. Stop the pipeline if it runs, wait, and ask again.',
    { facts: { prefix, state } },
  );
};

const findOpen = async (client: KafkaClient, topics: readonly string[]): Promise<Hanging[]> => {
  const undecided = await findUndecided(client, topics);
  const producers = await describeProducers(client, undecided);
  return undecided.flatMap((at, index) =>
    (producers[index] ?? []).flatMap(({ openSince, ...producer }) =>
      openSince === null ? [] : [{ ...at, ...producer, openSince }],
    ),
  );
};

/** Every transaction that the state topic still tells of, with its own place there. */
const readTold = async (client: KafkaClient, state: TopicPartition): Promise<Told[]> => {
  const { batches } = await scanLog(client, state);
  return batches.flatMap(({ producerId, epoch, sequence, bytes }): Told[] => {
    const records = new Map<string, string>();
    applyStateBatch(records, bytes, 0n);
    const text = records.get(LAST_TRANSACTION);
    if (text === undefined) return [];
    const places = readPlaces(text).map((place) => ({ ...place, producerId, epoch }));
    return [[...places, { ...state, producerId, epoch, sequence }]];
  });
};

const placeKey = (at: TopicPartition & BatchPlace): string =>
  [partitionKey(at), at.producerId, at.epoch, at.sequence].join(' ');

/** The batches that are open, all partitions together. */
const openPlaces = async (client: KafkaClient, open: readonly Hanging[]): Promise<Set<string>> => {
  const keys = new Set<string>();
  for (const { topic, partition, producerId, openSince } of open) {
    const { batches } = await scanLog(client, { topic, partition }, openSince);
    const isOpen = (batch: LoggedBatch): boolean =>
      batch.producerId === producerId && batch.offset >= openSince;
    for (const batch of batches.filter(isOpen)) keys.add(placeKey({ topic, partition, ...batch }));
  }
  return keys;
};

/** All or nothing: what hangs in one partition must not be committed in another one. */
const refuseTorn = async (client: KafkaClient, places: Told, hanging: ReadonlySet<string>): Promise<void> => {
  const open = places.find((place) => hanging.has(placeKey(place)));
  if (open === undefined) return;
  for (const place of places) {
    if (hanging.has(placeKey(place))) continue;
    if ((await findFate(client, place, place)) === 'committed') throw torn(place, open);
  }
};

const abort = async (client: KafkaClient, group: readonly Hanging[]): Promise<void> => {
  const [first] = group;
  if (first === undefined) return;
  const { producerId, producerEpoch, coordinatorEpoch } = first;
  // A writer that was never ended before has no coordinator's epoch yet.
  const marker = {
    producerId,
    producerEpoch,
    coordinatorEpoch: Math.max(0, coordinatorEpoch),
    commit: false,
  };
  await writeTransactionMarkers(client, marker, group);
};

const foreign = ({ topic, partition, producerId, openSince }: Hanging): VarveError =>
  new VarveError(
    'hanging_transaction',
    `Partition ${partition} of ${topic} holds an open transaction of producer ${producerId}, which is not ` +
      "this pipeline's. Find out who writes there, and end it with kafka-transactions.sh abort --topic " +
      `${topic} --partition ${partition} --start-offset ${openSince}.`,
    { facts: { topic, partition, producerId, openSince } },
  );

const torn = (committed: TopicPartition, open: TopicPartition): VarveError =>
  new VarveError(
    'hanging_transaction',
    `A transaction is committed in partition ${committed.partition} of ${committed.topic} and still open ` +
      `in partition ${open.partition} of ${open.topic}: the brokers lost its end there. An abort would ` +
      'lose published changes, so nothing was done. End it with kafka-transactions.sh abort, then snapshot ' +
      `the table of ${open.topic} again.`,
    {
      facts: {
        topic: open.topic,
        partition: open.partition,
        committed_topic: committed.topic,
        committed_partition: committed.partition,
      },
    },
  );
