// Owns reading one partition: committed batches from an offset on, its ends, and waiting until what is
// written is decided. It never jumps: an offset that the partition does not hold, or no longer holds, is an
// error. Keeps what a poll brought, for the next read. Knows no other partition and no state.
import { VarveError } from '../../errors.ts';
import type { FeedBatch, ReadRange, TopicEnds } from '../feed.ts';
import { readBatchHeader } from '../record-batch-header.ts';
import type { KafkaClient } from './client.ts';
import { onlyCommitted } from './committed.ts';
import { kafkaError } from './errors.ts';
import {
  FETCH,
  type FetchedPartition,
  type FetchPosition,
  readFetch,
  splitBatches,
  writeFetch,
} from './fetch.ts';
import { askEdge, type Edge } from './list-offsets.ts';
import { comesTrue, persist } from './patience.ts';
import type { PinnedTopic, Place } from './pinned-topic.ts';

export type Reading = {
  client: KafkaClient;
  /** For a leader to be found and to answer; then `topic_unreachable`. */
  patienceMs: number;
  /** For open transactions to be decided; then `topic_busy`. */
  undecidedMs: number;
  closing: AbortSignal;
};

/** Committed batches of `[from, nextOffset)`. */
type Kept = { from: bigint; batches: readonly Uint8Array[]; nextOffset: bigint };

const OFFSET_OUT_OF_RANGE = 1;
const UNDECIDED_PAUSE_MS = { first: 2, most: 50 } as const;

const bytesOf = (batches: readonly Uint8Array[]): number =>
  batches.reduce((sum, { length }) => sum + length, 0);

export class PartitionLog {
  readonly topic: PinnedTopic;
  readonly partition: number;
  /** A poll waits at the broker for what comes here. */
  isPolled = false;
  readonly #reading: Reading;
  readonly #facts: { topic: string; partition: number };
  /** Leader epoch of the record before this offset, as this feed read it. */
  #before = { offset: -1n, epoch: -1 };
  #seenEnd = 0n;
  /** Where a poll may wait for more: the last read found nothing here; null while a reader is behind. */
  #idleAt: bigint | null = null;
  #isRead = false;
  #kept: Kept | null = null;
  /** A poll found nothing here since the last read. */
  #emptyAt: bigint | null = null;

  constructor(topic: PinnedTopic, partition: number, reading: Reading) {
    this.topic = topic;
    this.partition = partition;
    this.#reading = reading;
    this.#facts = { topic: topic.name, partition };
  }

  /** As `Feed.read`. What lies past the committed end, but is there, reads as the end: it is not decided. */
  async read({ from, maxBytes }: ReadRange): Promise<FeedBatch> {
    this.#isRead = true;
    if (this.#isKnownEmpty(from)) return { partition: this.partition, batches: [], nextOffset: from };
    this.#idleAt = null;
    let at = from;
    for (;;) {
      const found = this.#takeKept(at, maxBytes) ?? (await this.#fetch(at, maxBytes));
      const { batches, nextOffset } = found;
      if (nextOffset === at) this.#idleAt = at;
      if (nextOffset === at || batches.length > 0) return { partition: this.partition, batches, nextOffset };
      at = nextOffset;
    }
  }

  /** No question is worth asking: a poll has just been answered, or its answer is to come. */
  #isKnownEmpty(from: bigint): boolean {
    const isEmpty = this.#idleAt === from && (this.isPolled || this.#emptyAt === from);
    this.#emptyAt = null;
    return isEmpty && this.#kept === null;
  }

  /**
   * The end is not below any write that was seen by anybody before the call. Throws `topic_busy` when it
   * stays undecided for too long.
   */
  async ends(): Promise<TopicEnds> {
    const asked = (['start', 'end', 'committed'] as const).map((edge) => this.edge(edge));
    const [start, end, committed] = (await Promise.all(asked)) as [bigint, bigint, bigint];
    const decided = committed >= end ? committed : await this.decided(end);
    if (!this.#isRead) this.#idleAt ??= decided;
    return { start, end: decided };
  }

  /** From the committed end on, unless it is read or followed already; polls then tell what comes. */
  async follow(): Promise<void> {
    if (this.#isRead || this.#idleAt !== null) return;
    const end = await this.edge('committed');
    if (!this.#isRead) this.#idleAt ??= end;
  }

  async edge(edge: Edge): Promise<bigint> {
    const { client, patienceMs: timeoutMs } = this.#reading;
    const offset = await this.#persist(`tell the ${edge} of`, async () => {
      const place = await this.topic.leader(this.partition);
      return askEdge(client, { ...place, ...this.#facts, edge, timeoutMs });
    });
    if (edge === 'committed' && offset > this.#seenEnd) this.#seenEnd = offset;
    return offset;
  }

  /** The committed end, once it is not below `end`. */
  async decided(end: bigint): Promise<bigint> {
    const { undecidedMs, closing } = this.#reading;
    let committed = -1n;
    const isDecided = async (): Promise<boolean> => {
      committed = await this.edge('committed');
      return committed >= end;
    };
    const looks = { limitMs: undecidedMs, pauseMs: UNDECIDED_PAUSE_MS, closing };
    if (await comesTrue(isDecided, looks)) return committed;
    throw undecided({ ...this.#facts, committed, end });
  }

  /** Throws `offset_lost` for an offset beyond the committed end. */
  async mustHold(offset: bigint): Promise<void> {
    if (offset <= this.#seenEnd || offset <= (await this.edge('committed'))) return;
    throw await this.#lost(offset);
  }

  get keptBytes(): number {
    return this.#kept === null ? 0 : bytesOf(this.#kept.batches);
  }

  /** What a poll should ask for; null when nobody waits here. Throws as `PinnedTopic.leader` does. */
  async waiting(maxBytes: number): Promise<(Place & { position: FetchPosition }) | null> {
    const place = await this.topic.leader(this.partition);
    if (this.#idleAt === null || this.#kept !== null) return null;
    return { ...place, position: this.#position(this.#idleAt, place.leaderEpoch, maxBytes) };
  }

  /** Keeps what a poll from `from` on brought; true when there is anything new, a refusal included. */
  keep(from: bigint, fetched: FetchedPartition): boolean {
    if (this.#idleAt !== from) return false;
    // The next read asks for itself, and gets the refusal with its own patience.
    if (fetched.error !== 0 || fetched.divergedAt !== null) return true;
    const kept = this.#judge(from, fetched);
    if (kept.nextOffset === from) {
      this.#emptyAt = from;
      return false;
    }
    if (this.#isRead) this.#kept = kept;
    else this.#idleAt = kept.nextOffset;
    return true;
  }

  /** From what a poll kept: whole batches up to `maxBytes`, but at least one. */
  #takeKept(from: bigint, maxBytes: number): Kept | null {
    const kept = this.#kept;
    this.#kept = null;
    if (kept?.from !== from) return null;
    let [count, bytes] = [0, 0];
    for (const { length } of kept.batches) {
      bytes += length;
      if (bytes > maxBytes && count > 0) break;
      count++;
    }
    if (count === kept.batches.length) return kept;
    const batches = kept.batches.slice(0, count);
    const nextOffset = BigInt(readBatchHeader(batches.at(-1) as Uint8Array).lastOffset) + 1n;
    this.#kept = { from: nextOffset, batches: kept.batches.slice(count), nextOffset: kept.nextOffset };
    return { from, batches, nextOffset };
  }

  #fetch(from: bigint, maxBytes: number): Promise<Kept> {
    const limits = { maxWaitMs: 0, maxBytes: Math.max(1, maxBytes) };
    return this.#persist(`read from offset ${from} on`, async () => {
      const { node, leaderEpoch } = await this.topic.leader(this.partition);
      const position = this.#position(from, leaderEpoch, limits.maxBytes);
      const { client, patienceMs: timeoutMs } = this.#reading;
      const body = await client.request(node, { ...FETCH, timeoutMs }, (out) => {
        writeFetch(out, [position], limits);
      });
      const answer = readFetch(body);
      const [fetched] = answer.partitions;
      if (answer.error !== 0) throw kafkaError(answer.error, 'read', this.#facts);
      // A quota that is used up is answered with nothing at all.
      if (fetched === undefined)
        throw new VarveError('topic_busy', 'The broker held its answer back.', { facts: this.#facts });
      if (fetched.error === OFFSET_OUT_OF_RANGE) throw await this.#lost(from);
      if (fetched.error !== 0) throw kafkaError(fetched.error, `read ${this.topic.name}`, this.#facts);
      return this.#judge(from, fetched);
    });
  }

  #judge(from: bigint, { records, aborted, committedEnd, divergedAt }: FetchedPartition): Kept {
    if (divergedAt !== null) throw cut({ ...this.#facts, from, divergedAt });
    const whole = splitBatches(records);
    if (records.length > 0 && whole.length === 0)
      throw new VarveError('protocol_error', `${this.topic.name}: an answer without a whole batch.`, {
        facts: this.#facts,
      });
    const { batches, nextOffset, lastEpoch } = onlyCommitted(whole, { aborted, committedEnd });
    if (committedEnd > this.#seenEnd) this.#seenEnd = committedEnd;
    if (nextOffset === null) return { from, batches: [], nextOffset: from };
    this.#before = { offset: nextOffset, epoch: lastEpoch };
    return { from, batches, nextOffset };
  }

  #position(from: bigint, leaderEpoch: number, maxBytes: number): FetchPosition {
    const lastEpoch = this.#before.offset === from ? this.#before.epoch : -1;
    return { topicId: this.topic.id, partition: this.partition, leaderEpoch, from, lastEpoch, maxBytes };
  }

  /** The error for an offset that is not there; another one when it is there after all. */
  async #lost(offset: bigint): Promise<VarveError> {
    const [start, end] = [await this.edge('start'), await this.edge('end')];
    const facts = { ...this.#facts, offset, start, end };
    const where = `Offset ${offset} of partition ${this.partition} of ${this.topic.name}`;
    if (offset >= start && offset <= end)
      return new VarveError('topic_busy', `${where} is there again.`, { facts });
    const why =
      offset < start
        ? 'Retention has dropped what lay before; make retention.ms or retention.bytes larger'
        : 'Records behind the end were lost by the cluster; look for an unclean leader election';
    return new VarveError(
      'offset_lost',
      `${where} is not in the topic, which holds ${start} to ${end}. ${why}, and snapshot the table again.`,
      { facts },
    );
  }

  #persist<Value>(what: string, attempt: () => Promise<Value>): Promise<Value> {
    return persist(attempt, {
      what: `${what} partition ${this.partition} of ${this.topic.name}`,
      limitMs: this.#reading.patienceMs,
      refresh: () => this.topic.refresh(),
      closing: this.#reading.closing,
    });
  }
}

type Where = { topic: string; partition: number };

const cut = (facts: Where & { from: bigint; divergedAt: bigint }): VarveError =>
  new VarveError(
    'offset_lost',
    `Partition ${facts.partition} of ${facts.topic} was read up to offset ${facts.from}, and of that ` +
      `only what lies below ${facts.divergedAt} is left: the cluster lost committed records. ` +
      'Turn unclean leader elections off, and snapshot the table again.',
    { facts },
  );

const undecided = (facts: Where & { committed: bigint; end: bigint }): VarveError =>
  new VarveError(
    'topic_busy',
    `Partition ${facts.partition} of ${facts.topic} has transactions that stay open: ${facts.committed} of ` +
      `${facts.end} offsets are decided. It is tried again; if it stays so, look for a writer that hangs.`,
    { facts },
  );
