// Owns the Feed of the embedded topic: follows the mark, in any process, and hands out batches from the
// files. It writes nothing but how far the sink has read.
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { VarveError } from '../../errors.ts';
import type { Feed, FeedBatch, ReadRange, TopicEnds } from '../feed.ts';
import { damaged, fileError, isMissing } from './directory.ts';
import { type FoundSlices, LogFollower } from './log-follower.ts';
import type { TopicState } from './log-state.ts';
import { readReleased, writeReleased } from './released.ts';
import { readExactly, sliceProblem } from './segment.ts';
import type { IndexedSlice } from './slice-index.ts';
import { hasWriter, heard, ring } from './wake.ts';

type EmbeddedFeedOptions = { path: string };

const POLL_MS = { first: 20, last: 200 } as const;
/** Batches that lie closer than this are read in one go: one call costs more than the bytes in between. */
const GAP_BYTES = 16 << 10;

/** Throws `state_lost` when there is no topic at `path`, `state_corrupt`, `state_newer`. */
export const openEmbeddedFeed = async ({ path }: EmbeddedFeedOptions): Promise<Feed> => {
  const real = await realpath(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  const released = new Map(await readReleased(real));
  return new EmbeddedFeed(real, await LogFollower.open(real), released);
};

class EmbeddedFeed implements Feed {
  readonly #path: string;
  readonly #log: LogFollower;
  readonly #released: Map<string, number>;
  #releasing: Promise<void> = Promise.resolve();
  #seen: string;

  constructor(path: string, log: LogFollower, released: Map<string, number>) {
    this.#path = path;
    this.#log = log;
    this.#released = released;
    this.#seen = log.position;
  }

  async topics(): Promise<readonly string[]> {
    await this.#log.refresh();
    return [...this.#log.state.topics.keys()].sort();
  }

  async partitions(topic: string): Promise<number> {
    await this.#topic(topic, 0);
    return 1;
  }

  async read(topic: string, partition: number, { from, maxBytes }: ReadRange): Promise<FeedBatch> {
    for (let before = -1n; ; ) {
      const ends = await this.ends(topic, partition);
      if (from < ends.start || from > ends.end) throw offsetLost(topic, from, ends);
      if (from === ends.end) return { partition, batches: [], nextOffset: from };
      const found = await this.#log.find(topic, Number(from), maxBytes);
      const batches = found && (await readSlices(found));
      if (batches) {
        const [, base, records] = (found.slices.at(-1) as IndexedSlice).head;
        return { partition, batches, nextOffset: BigInt(base + records) };
      }
      // Retention was faster, so the start has moved; a file that is missing without that is a loss.
      if (ends.start === before)
        throw damaged(this.#path, `a segment with offset ${from} of ${topic} is missing`);
      before = ends.start;
    }
  }

  async ends(topic: string, partition: number): Promise<TopicEnds> {
    const { end } = await this.#topic(topic, partition);
    return { start: BigInt(this.#log.start(topic)), end: BigInt(end) };
  }

  async topicId(topic: string): Promise<string> {
    return (await this.#topic(topic, 0)).id;
  }

  async schema(id: number): Promise<string> {
    if (this.#log.state.schemas[id - 1] === undefined) await this.#log.refresh();
    const text = this.#log.state.schemas[id - 1];
    if (text !== undefined) return text;
    throw new VarveError('schema_unknown', `The embedded topic in ${this.#path} has no schema ${id}.`, {
      facts: { path: this.#path, id },
    });
  }

  async state(): Promise<ReadonlyMap<string, string>> {
    await this.#log.refresh();
    return new Map(this.#log.state.state);
  }

  async changed(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + timeoutMs;
    for (let pause: number = POLL_MS.first; ; pause = Math.min(pause * 1.5, POLL_MS.last)) {
      // Listen first, look second: a commit in between is heard.
      const left = Math.max(0, until - performance.now());
      const waiting = new AbortController();
      const news = heard(
        this.#path,
        hasWriter(this.#path) ? left : Math.min(left, pause),
        AbortSignal.any([signal, waiting.signal]),
      );
      await this.#log.refresh();
      if (this.#log.position !== this.#seen || signal.aborted || left === 0) {
        waiting.abort();
        this.#seen = this.#log.position;
        return;
      }
      await news;
    }
  }

  async release(topic: string, partition: number, offset: bigint): Promise<void> {
    const { id, end } = await this.#topic(topic, partition);
    if (offset > end)
      throw offsetLost(topic, offset, { start: BigInt(this.#log.start(topic)), end: BigInt(end) });
    if ((this.#released.get(id) ?? 0) >= offset) return;
    this.#released.set(id, Number(offset));
    const write = this.#releasing.then(() => writeReleased(this.#path, this.#released));
    this.#releasing = write.catch(() => undefined);
    await write.catch((error: unknown) => {
      throw fileError(error, this.#path);
    });
    ring(this.#path);
  }

  /** There is one log, and nothing is kept of it. */
  leave(): void {}

  async close(): Promise<void> {
    await this.#releasing;
    await this.#log.close();
  }

  async #topic(name: string, partition: number): Promise<TopicState> {
    await this.#log.refresh();
    const topic = this.#log.state.topics.get(name);
    if (topic && partition === 0) return topic;
    throw new VarveError(
      'usage',
      `The embedded topic in ${this.#path} has no ${name} with partition ${partition}.`,
      {
        facts: { path: this.#path, topic: name, partition },
      },
    );
  }
}

/** Every batch is checked before it is handed out; null when the file is gone. Throws `record_corrupt`. */
const readSlices = async ({ path, slices }: FoundSlices): Promise<Uint8Array[] | null> => {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw fileError(error, path);
  });
  if (file === null) return null;
  try {
    const batches: Uint8Array[] = [];
    for (let next = 0; next < slices.length; ) {
      const near = nearSlices(slices, next);
      batches.push(...(await readNear(file, path, near)));
      next += near.length;
    }
    return batches;
  } finally {
    await file.close();
  }
};

/** The slices from `first` on that lie close enough together to be read in one go. */
const nearSlices = (slices: readonly IndexedSlice[], first: number): readonly IndexedSlice[] => {
  let end = first + 1;
  for (; end < slices.length; end++) {
    const [before, slice] = [slices[end - 1] as IndexedSlice, slices[end] as IndexedSlice];
    if (slice.at > before.at + before.head[3] + GAP_BYTES) break;
  }
  return slices.slice(first, end);
};

const readNear = async (
  file: FileHandle,
  path: string,
  slices: readonly IndexedSlice[],
): Promise<Uint8Array[]> => {
  const from = (slices[0] as IndexedSlice).at;
  const last = slices.at(-1) as IndexedSlice;
  const bytes = await readExactly(file, from, last.at + last.head[3] - from).catch((error: unknown) => {
    throw error instanceof RangeError ? damaged(path, error.message, error) : fileError(error, path);
  });
  return slices.map(({ head, at }) => {
    const batch = bytes.subarray(at - from, at - from + head[3]);
    const problem = sliceProblem(head, batch);
    if (problem !== null) throw corruptSlice(path, head, problem);
    return batch;
  });
};

const corruptSlice = (file: string, [topic, offset]: IndexedSlice['head'], why: string): VarveError =>
  new VarveError(
    'record_corrupt',
    `Records of ${topic} from offset ${offset} on are damaged in ${file}: ${why}. Restore the ` +
      'directory from a copy, or snapshot the table again.',
    { facts: { file, topic, offset } },
  );

const offsetLost = (topic: string, offset: bigint, { start, end }: TopicEnds): VarveError =>
  new VarveError(
    'offset_lost',
    `Offset ${offset} of ${topic} is not in the embedded topic, which holds ${start} to ${end}. What ` +
      'lay before was dropped by retention or the topic was made anew; snapshot the table again.',
    { facts: { topic, offset, start, end } },
  );
