// A program that reads an embedded topic from an offset to its end and only counts the records: the floor of
// every fold.
import { codecById } from '../src/topic/compression.ts';
import { openEmbeddedFeed } from '../src/topic/embedded/feed.ts';
import { readRecords } from '../src/topic/record-batch.ts';
import { TOPIC } from './database.ts';
import { answer, readRequest } from './measure.ts';

export type ReaderRequest = { path: string; from: number };
export type ReaderTimes = { records: number; seconds: number };

const READ_BYTES = 8 << 20;

const { path, from } = readRequest<ReaderRequest>();
const startedMs = performance.now();
const feed = await openEmbeddedFeed({ path });
const { end } = await feed.ends(TOPIC, 0);
let records = 0;
for (let next = BigInt(from); next < end; ) {
  const { batches, nextOffset } = await feed.read(TOPIC, 0, { from: next, maxBytes: READ_BYTES });
  for (const batch of batches)
    readRecords(
      batch,
      () => {
        records++;
      },
      { codec: codecById },
    );
  next = nextOffset;
}
await answer({ records, seconds: (performance.now() - startedMs) / 1000 } satisfies ReaderTimes);
await feed.close();
