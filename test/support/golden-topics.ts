// Owns reading all that stands on the topics of one directory, for comparing with records of Debezium.
// Knows no expectation and no server.
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import type { Feed } from '../../src/topic/feed.ts';
import { type DecodedRecord, decodeBatch } from './golden.ts';

const readTopic = async (
  feed: Feed,
  topic: string,
  schemas: ReadonlyMap<number, string>,
): Promise<DecodedRecord[]> => {
  const { start, end } = await feed.ends(topic, 0);
  const batches: Uint8Array[] = [];
  for (let at = start; at < end; ) {
    const read = await feed.read(topic, 0, { from: at, maxBytes: 1 << 20 });
    batches.push(...read.batches);
    at = read.nextOffset;
  }
  return batches.flatMap((batch) => decodeBatch(topic, batch, (id) => schemas.get(id) ?? `no schema ${id}`));
};

/** All schemas that the embedded registry gave an id; the first is 1, and none is left out. */
const registered = async (feed: Feed): Promise<Map<number, string>> => {
  const schemas = new Map<number, string>();
  for (let id = 1; ; id++) {
    const text = await feed.schema(id).catch(() => null);
    if (text === null) return schemas;
    schemas.set(id, text);
  }
};

/** Every topic, decoded with the schemas that its records name. */
export const readTopics = async (path: string): Promise<DecodedRecord[]> => {
  const feed = await openEmbeddedFeed({ path });
  try {
    const [topics, schemas] = [await feed.topics(), await registered(feed)];
    return (await Promise.all(topics.map((topic) => readTopic(feed, topic, schemas)))).flat();
  } finally {
    await feed.close();
  }
};
