// A program that prints when each row can be read from the topic, by the Feed that sinks and consumers use.
// With a file it runs that pipeline in the same process, as `varve run` does with a sink; without, it is a
// consumer of its own.
import { AvroCursor } from '../src/topic/avro-cursor.ts';
import { codecById } from '../src/topic/compression.ts';
import { readRecords } from '../src/topic/record-batch.ts';
import { TOPIC } from './database.ts';
import { answer, readRequest } from './measure.ts';

export type WatchRequest = { path: string; firstId: number; rows: number; file: string | null };

const READ_BYTES = 1 << 20;
const WAIT_MS = 1000;
/** Magic byte and schema id. */
const FRAME_BYTES = 5;

const { path, firstId, rows, file } = readRequest<WatchRequest>();

/** As people install it; of one copy, because a feed hears its own process's publisher through it. */
const built = (file: string): string => new URL(`../dist/src/${file}`, import.meta.url).href;

const { openEmbeddedFeed }: typeof import('../src/topic/embedded/feed.ts') = await import(
  built('topic/embedded/feed.js')
);
const feed = await openEmbeddedFeed({ path });
if (file !== null) {
  process.argv.splice(2, Number.POSITIVE_INFINITY, 'run', file);
  void import(built('main.js')).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
}

const never = new AbortController().signal;
const isThere = async (): Promise<boolean> => (await feed.topics()).includes(TOPIC);
// A topic comes with its first rows, and they count.
let offset = (await isThere()) ? (await feed.ends(TOPIC, 0)).end : 0n;
while (!(await isThere())) await feed.changed(WAIT_MS, never);
const cursor = new AvroCursor();
const seen: [id: number, atUs: number][] = [];
while (seen.length < rows) {
  const { batches, nextOffset } = await feed.read(TOPIC, 0, { from: offset, maxBytes: READ_BYTES });
  for (const batch of batches) {
    readRecords(
      batch,
      ({ bytes, keyStart, keyEnd }) => {
        cursor.load(bytes, keyStart + FRAME_BYTES, keyEnd);
        const id = Number(cursor.long());
        if (id >= firstId) seen.push([id, Number(process.hrtime.bigint() / 1000n)]);
      },
      { codec: codecById },
    );
  }
  if (nextOffset === offset) await feed.changed(WAIT_MS, never);
  offset = nextOffset;
}
await answer(seen);
process.exit(0);
