// Owns watching a pipeline that runs: what it claims to be safe, by its checkpoint and to its source, and
// where the partitions end right after. What the claims are worth is judged later, by who knows every record.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { parseLsn } from '../../connectors/postgres/lsn.ts';
import { listOffsets } from '../../src/topic/kafka/admin.ts';
import { KafkaClient } from '../../src/topic/kafka/client.ts';
import type { Mark } from './topic-check.ts';

type Watched = {
  readonly brokers: readonly string[];
  readonly prefix: string;
  /** What the source was told to be done, as its position; null: nothing yet. */
  readonly confirmed: () => Promise<string | null>;
};

const PAUSE_MS = 100;

/** Ends of the tables' partitions, by `<table>/<partition>`. */
const endsOf = async (
  client: KafkaClient,
  prefix: string,
  kind: 'end' | 'committed',
): Promise<Map<string, bigint>> => {
  const names = (await client.topics()).filter(
    (name) => name.startsWith(`${prefix}.`) && !name.startsWith(`${prefix}.varve.`),
  );
  await client.refresh(names);
  const topics = await Promise.all(names.map((name) => client.topic(name)));
  const partitions = topics.flatMap((topic) =>
    (topic?.partitions ?? []).map((_, partition) => ({ topic: topic?.name ?? '', partition })),
  );
  const ends = await listOffsets(client, partitions, kind);
  return new Map(
    partitions.map(({ topic, partition }, at) => [
      `${topic.slice(prefix.length + 1)}/${partition}`,
      ends[at] ?? 0n,
    ]),
  );
};

/** The newest checkpoint that a read_committed consumer has seen; closed by `signal`. */
const followCheckpoint = async (
  { brokers, prefix }: Watched,
  signal: AbortSignal,
): Promise<() => string | null> => {
  const kafka = new kafkajs.Kafka({
    clientId: 'watcher',
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
  });
  const topic = `${prefix}.varve.state`;
  const admin = kafka.admin();
  await admin.connect();
  while (!signal.aborted && !(await admin.listTopics()).includes(topic)) await sleep(PAUSE_MS);
  await admin.disconnect();
  const consumer = kafka.consumer({ groupId: `watcher-${randomUUID()}`, maxWaitTimeInMs: 20 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  let newest: string | null = null;
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message: { key, value } }) => {
      if (key?.toString() === 'checkpoint') newest = value?.toString() ?? null;
    },
  });
  signal.addEventListener('abort', () => void consumer.disconnect(), { once: true });
  return () => newest;
};

const resumeOf = (state: string): string => {
  const { resume } = JSON.parse(state.slice(state.indexOf('{'))) as { resume: string };
  return resume.replace(/ .*/, '');
};

/** Looks every now and then until `signal`; gives a mark for every claim that was seen. */
export const watchMarks = async (watched: Watched, signal: AbortSignal): Promise<Mark[]> => {
  const { brokers, prefix, confirmed } = watched;
  await using client = await KafkaClient.open({ brokers, clientId: 'watcher' });
  const checkpoint = await followCheckpoint(watched, signal);
  const marks: Mark[] = [];
  let last = '';
  let lastTold = '';
  while (!signal.aborted) {
    const state = checkpoint();
    if (state !== null && state !== last) {
      last = state;
      const position = parseLsn(resumeOf(state));
      // Markers reach partitions at slightly different moments: what is written counts, and nothing of it may
      // be taken back, or its records would not be there in the end.
      marks.push({
        what: `the checkpoint ${resumeOf(state)}`,
        position,
        ends: await endsOf(client, prefix, 'end'),
      });
    }
    const told = await confirmed();
    if (told !== null && told !== lastTold) {
      lastTold = told;
      const ends = await endsOf(client, prefix, 'committed');
      marks.push({ what: `the confirmation ${told}`, position: parseLsn(told), ends });
    }
    await sleep(PAUSE_MS);
  }
  return marks;
};
