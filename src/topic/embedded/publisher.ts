// Owns the Publisher of the embedded topic: the queue of atomic writes, their offsets, and the wait for room.
// Order is the order of the calls; all writes that wait share one sync.
import { realpath } from 'node:fs/promises';
import { VarveError } from '../../errors.ts';
import type { AtomicWrite, EnsuredTopic, Publisher, Slice, TopicSettings } from '../publisher.ts';
import { MAX_RECORD_BYTES } from '../record-batch.ts';
import { BASE_OFFSET_BYTES, baseOffsetBytes, readBatchHeader } from '../record-batch-header.ts';
import type { SliceHead, WriteHead } from './frame.ts';
import { acquireLock, type Lock } from './lock.ts';
import { type Append, LogWriter } from './log-writer.ts';
import { prepareDirectory, type Segment } from './recovery.ts';
import { readReleased } from './released.ts';
import { countDroppable, type Hold, isCurrentFree, type Retention } from './retention.ts';
import { announceWriter, heard, ring } from './wake.ts';

export type EmbeddedPublisherOptions = {
  /** A directory on a local disk, made if it is not there. */
  path: string;
  /** 7 days and 10 GB unless told. */
  retention?: Partial<Retention>;
  /** Which topics a sink reads: these wait for its release. All, unless told. */
  hold?: Hold;
  /** Milliseconds since 1970-01-01 UTC. */
  now: () => number;
  /** A fresh uuid a call. */
  randomId: () => string;
  /** Called with `topic_full` each time writes begin to wait for a sink to release something. */
  onFull?: (problem: VarveError) => void;
};

const DEFAULTS: Retention = { ageMs: 7 * 86_400_000, bytes: 10e9 };

/** Small enough that retention takes little steps and opening reads little; a log of 10 GB has 160. */
const SEGMENT_BYTES = 64 << 20;
/** Writes that share one sync: more would only make the first of them wait. */
const GROUP_BYTES = 16 << 20;
const RETENTION_EVERY_MS = 10_000;
const POLL_RELEASED_MS = 200;

/** Every topic: one partition, and nobody who would refuse a large batch. */
const AS_IT_IS: EnsuredTopic = {
  id: null,
  partitions: 1,
  maxRecordBytes: MAX_RECORD_BYTES,
  batchBytes: 1 << 30,
};

type Pending = Append & { bytes: number; resolve: () => void; reject: (error: unknown) => void };

/**
 * Throws `state_locked` when another process writes there, `state_corrupt`, `state_newer`, `state_foreign`
 * for what was found, `disk_full`, `disk_failed`.
 */
export const openEmbeddedPublisher = async (options: EmbeddedPublisherOptions): Promise<Publisher> => {
  await prepareDirectory(options.path);
  const path = await realpath(options.path);
  const lock = await acquireLock(path, options.randomId());
  try {
    const log = await LogWriter.open(path, options);
    return new EmbeddedPublisher(log, { ...options, path, lock });
  } catch (error) {
    await lock.release();
    throw error;
  }
};

class EmbeddedPublisher implements Publisher {
  readonly #path: string;
  #log: LogWriter;
  readonly #lock: Lock;
  readonly #retention: Retention;
  readonly #options: EmbeddedPublisherOptions;
  readonly #presence: Disposable;
  /** Ends and schemas with everything queued; the log has them without. */
  readonly #ends = new Map<string, number>();
  readonly #topics = new Map<string, Promise<void>>();
  readonly #schemas = new Map<string, Promise<number>>();
  #schemaCount = 0;
  readonly #queue: Pending[] = [];
  #running: Promise<void> = Promise.resolve();
  #busy = false;
  #closed = false;
  #failed: unknown = null;
  /** Before the first write of a process: one that ends soon would never clean. */
  #cleanedAt = Number.NEGATIVE_INFINITY;

  constructor(log: LogWriter, options: EmbeddedPublisherOptions & { lock: Lock }) {
    this.#path = options.path;
    this.#log = log;
    this.#lock = options.lock;
    this.#options = options;
    this.#retention = { ...DEFAULTS, ...options.retention };
    this.#presence = announceWriter(options.path);
    this.#adoptState();
  }

  /** What is known apart from the log, as the log has it. */
  #adoptState(): void {
    const { topics, schemas } = this.#log.state;
    for (const known of [this.#ends, this.#topics, this.#schemas]) known.clear();
    for (const [name, { end }] of topics) {
      this.#ends.set(name, end);
      this.#topics.set(name, Promise.resolve());
    }
    for (const [at, text] of schemas.entries()) this.#schemas.set(text, Promise.resolve(at + 1));
    this.#schemaCount = schemas.length;
  }

  state(): ReadonlyMap<string, string> {
    return this.#log.state.state;
  }

  /** One partition, whatever is asked for: order within a key holds all the more. */
  async ensureTopic(name: string, _settings: TopicSettings): Promise<EnsuredTopic> {
    let made = this.#topics.get(name);
    if (!made) {
      made = this.#append({ topics: [[name, this.#options.randomId()]] });
      this.#topics.set(name, made);
      this.#ends.set(name, 0);
    }
    await made;
    return AS_IT_IS;
  }

  /** The subject does not matter here: ids are of texts. */
  registerSchema(_subject: string, schema: string): Promise<number> {
    const known = this.#schemas.get(schema);
    if (known !== undefined) return known;
    const id = ++this.#schemaCount;
    const made = this.#append({ schemas: [[id, schema]] }).then(() => id);
    this.#schemas.set(schema, made);
    return made;
  }

  async write({ slices, state }: AtomicWrite): Promise<void> {
    // All slices are looked at before an offset is given away: a refused write leaves no trace.
    const records = slices.map((slice) => this.#check(slice));
    const heads = slices.map(({ topic, batch }, at) => this.#place(topic, batch, records[at] as number));
    // The batch is the caller's: its first field is written from here, the rest as it stands.
    const body = slices.flatMap(({ batch }, at) => [
      baseOffsetBytes((heads[at] as SliceHead)[1]),
      batch.subarray(BASE_OFFSET_BYTES),
    ]);
    await this.#append({ slices: heads, state: state.map(({ key, value }) => [key, value] as const) }, body);
  }

  async recover(): Promise<void> {
    if (this.#failed === null) return;
    await this.#running;
    await this.#log.close();
    this.#log = await LogWriter.open(this.#path, this.#options);
    this.#adoptState();
    this.#failed = null;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    ring(this.#path);
    await this.#running;
    await this.#log.close();
    this.#presence[Symbol.dispose]();
    await this.#lock.release();
  }

  #place(topic: string, batch: Uint8Array, records: number): SliceHead {
    const base = this.#ends.get(topic) as number;
    this.#ends.set(topic, base + records);
    return [topic, base, records, batch.length, readBatchHeader(batch).crc];
  }

  #check({ topic, partition, batch, records }: Slice): number {
    if (!this.#ends.has(topic) || partition !== 0) {
      throw new VarveError(
        'usage',
        `There is no topic ${topic} with partition ${partition}; create it first.`,
        {
          facts: { topic, partition },
        },
      );
    }
    const header = readBatchHeader(batch);
    if (header.records === records && header.lastOffset - header.baseOffset === records - 1) return records;
    throw new VarveError(
      'record_corrupt',
      `A batch for ${topic} holds ${header.records} records, not the ${records} it was handed over with.`,
      { facts: { topic, records } },
    );
  }

  #append(part: Partial<WriteHead>, body: readonly Uint8Array[] = []): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed);
    if (this.#closed) return Promise.reject(new VarveError('usage', 'The publisher is closed.'));
    const head: WriteHead = { kind: 'write', slices: [], state: [], topics: [], schemas: [], ...part };
    const bytes = body.reduce((sum, batch) => sum + batch.length, 0);
    const done = new Promise<void>((resolve, reject) =>
      this.#queue.push({ head, body, bytes, resolve, reject }),
    );
    if (!this.#busy) {
      this.#busy = true;
      this.#running = this.#run();
    }
    return done;
  }

  /** Never throws: every failure is the callers'. */
  async #run(): Promise<void> {
    let group: Pending[] = [];
    try {
      while (this.#queue.length > 0) {
        // Everything that is asked for in this turn goes together.
        await Promise.resolve();
        const need = (this.#queue[0] as Pending).bytes;
        await this.#makeRoom(need);
        group = this.#takeGroup();
        await this.#log.append(group);
        ring(this.#path);
        for (const { resolve } of group) resolve();
        group = [];
      }
    } catch (error) {
      // Offsets were given away for all of them: going on would leave a gap.
      this.#failed = error;
      for (const { reject } of [...group, ...this.#queue.splice(0)]) reject(error);
    } finally {
      this.#busy = false;
    }
  }

  #takeGroup(): Pending[] {
    const room = Math.min(GROUP_BYTES, this.#retention.bytes - this.#log.bytes);
    let bytes = 0;
    let count = 0;
    for (const pending of this.#queue) {
      bytes += pending.bytes;
      if (count > 0 && bytes > room) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #makeRoom(need: number): Promise<void> {
    const now = this.#options.now();
    if (this.#log.currentBytes > 0 && this.#isSegmentDone(now, need)) await this.#log.roll();
    if (this.#log.bytes + need <= this.#retention.bytes && now - this.#cleanedAt < RETENTION_EVERY_MS) return;
    this.#cleanedAt = now;
    let told = false;
    while (!(await this.#clean(need))) {
      if (!told) this.#options.onFull?.(full(this.#path, this.#retention.bytes));
      told = true;
      if (this.#closed) throw full(this.#path, this.#retention.bytes);
      await heard(this.#path, POLL_RELEASED_MS);
    }
  }

  /** Drops what may go; true when `need` more bytes fit, or nothing at all is left to wait for. */
  async #clean(need: number): Promise<boolean> {
    const released = await readReleased(this.#path);
    const holders = { topics: this.#log.state.topics, released, hold: this.#options.hold ?? (() => true) };
    const bounds = { now: this.#options.now(), need, retention: this.#retention };
    const drop = async (): Promise<boolean> => {
      const count = countDroppable(this.#log.segments, holders, bounds);
      if (count > 0) await this.#log.drop(count);
      return this.#log.bytes + need <= this.#retention.bytes;
    };
    if (await drop()) return true;
    const current = this.#log.segments.at(-1) as Segment;
    if (!isCurrentFree(current, holders)) return false;
    if (this.#log.currentBytes > 0) {
      await this.#log.roll();
      if (await drop()) return true;
    }
    return this.#log.segments.length === 1;
  }

  #isSegmentDone(now: number, need: number): boolean {
    const { bytes, ageMs } = this.#retention;
    const { at } = this.#log.segments.at(-1) as Segment;
    return this.#log.currentBytes + need > Math.min(SEGMENT_BYTES, bytes / 8) || now - at > ageMs / 8;
  }
}

const full = (path: string, maxBytes: number): VarveError =>
  new VarveError(
    'topic_full',
    `The embedded topic in ${path} holds its ${maxBytes} bytes, and the sink has still to read them. ` +
      'Writing waits; look at the sink, or raise the bound.',
    { facts: { path, maxBytes } },
  );
