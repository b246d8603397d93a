// A program that prints when each row can be read from the topic, by the Feed that sinks and consumers use.
// With a file it runs that pipeline in the same process, as `varve run` does with a sink; without, it is a
// consumer of its own.
import { AvroCursor } from '../src/topic/avro-cursor.ts';
import { codecById } from '../src/topic/compression.ts';
import type { Feed } from '../src/topic/feed.ts';
import { readRecords } from '../src/topic/record-batch.ts';
import { PIPELINE, TOPIC } from './database.ts';
import { announce, answer, builtUrl, readRequest } from './measure.ts';
import type { TopicPlace } from './varve-pipeline.ts';

export type WatchRequest = { topic: TopicPlace; firstId: number; rows: number; file: string | null };

const READ_BYTES = 1 << 20;
const WAIT_MS = 1000;
/** Magic byte and schema id. */
const FRAME_BYTES = 5;

const { topic: place, firstId, rows, file } = readRequest<WatchRequest>();
const topic = TOPIC.replace(PIPELINE, place.kind === 'kafka' ? place.prefix : PIPELINE);

/** As people install it; of one copy, because a feed hears its own process's publisher through it. */
const built = (name: string): string => builtUrl(name).href;

const openFeed = async (): Promise<Feed> => {
  if (place.kind === 'embedded') {
    const { openEmbeddedFeed }: typeof import('../src/topic/embedded/feed.ts') = await import(
      built('topic/embedded/feed.js')
    );
    return openEmbeddedFeed({ path: place.path });
  }
  const { openKafkaFeed }: typeof import('../src/topic/kafka/feed.ts') = await import(
    built('topic/kafka/feed.js')
  );
  const { KafkaClient }: typeof import('../src/topic/kafka/client.ts') = await import(
    built('topic/kafka/client.js')
  );
  const client = await KafkaClient.open({ brokers: place.brokers, clientId: 'bench-reader' });
  // Ids are in the keys, whose schema is known here.
  const schema = (id: number): Promise<string> => Promise.reject(new Error(`schema ${id} is not needed`));
  return openKafkaFeed({ client, prefix: place.prefix, schema });
};

const feed = await openFeed();
if (file !== null) {
  process.argv.splice(2, Number.POSITIVE_INFINITY, 'run', file);
  void import(built('main.js')).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
}

const never = new AbortController().signal;
const isThere = async (): Promise<boolean> => (await feed.topics()).includes(topic);
/** By partition: where reading goes on. */
const offsets: bigint[] = [];
// A topic comes with its first rows, and they count.
const wasThere = await isThere();
if (!wasThere) announce();
while (!(await isThere())) await feed.changed(WAIT_MS, never);
for (let partition = 0; partition < (await feed.partitions(topic)); partition++)
  offsets.push(wasThere ? (await feed.ends(topic, partition)).end : 0n);
if (wasThere) announce();

const cursor = new AvroCursor();
const seen: [id: number, atUs: number][] = [];
const note = (batch: Uint8Array): void => {
  const codec = { codec: codecById };
  readRecords(
    batch,
    ({ bytes, keyStart, keyEnd }) => {
      cursor.load(bytes, keyStart + FRAME_BYTES, keyEnd);
      const id = Number(cursor.long());
      if (id >= firstId) seen.push([id, Number(process.hrtime.bigint() / 1000n)]);
    },
    codec,
  );
};
/** True: there was something. */
const readPartition = async (partition: number, from: bigint): Promise<boolean> => {
  const { batches, nextOffset } = await feed.read(topic, partition, { from, maxBytes: READ_BYTES });
  for (const batch of batches) note(batch);
  offsets[partition] = nextOffset;
  return nextOffset !== from;
};
while (seen.length < rows) {
  const found = await Promise.all(offsets.map((from, partition) => readPartition(partition, from)));
  if (!found.includes(true)) await feed.changed(WAIT_MS, never);
}
await answer(seen);
process.exit(0);
