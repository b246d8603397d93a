// Owns who writes: producer id and epoch, the sequence of every partition, and getting batches acknowledged
// by all in-sync replicas. A batch that may or may not have arrived is sent again under its own sequence, so
// it is there once. Knows no transaction's begin and end, and no queue.
import { setTimeout as sleep } from 'node:timers/promises';
import { initProducerIdV4 } from '@platformatic/kafka';
import { asVarveError, VarveError } from '../../errors.ts';
import type { Slice } from '../publisher.ts';
import type { KafkaClient } from './client.ts';
import { actionOf, kafkaError, mayRepeat, unknownOutcome } from './errors.ts';
import { viaNode } from './leaders.ts';
import { libraryCall } from './library-call.ts';
import { persist } from './patience.ts';
import { PinnedTopic, type Place } from './pinned-topic.ts';
import {
  nextSequence,
  PRODUCE,
  type Produced,
  type Producer,
  readProduced,
  type Sequenced,
  writeProduce,
} from './produce.ts';

type ProducerSettings = {
  client: KafkaClient;
  /** Null: idempotent only. */
  transactionalId: string | null;
  /** After this long without an end the broker aborts. */
  transactionTimeoutMs: number;
  /** For leaders and coordinators to be found and to answer; below `transactionTimeoutMs`. */
  patienceMs: number;
  closing: AbortSignal;
};

/**
 * Brokers remember so many batches of a producer and partition, and recognise one of them when it comes
 * again.
 */
const MOST_IN_FLIGHT = 5;
/** The end of the last transaction takes a few of them. */
const COORDINATOR_PAUSE_MS = { first: 1, most: 4 } as const;
const RETRY_PAUSE_MS = { first: 2, most: 200 } as const;
const NONE = { id: -1n, epoch: -1 } as const;
/** The coordinator ends what is open by an epoch of its own first. */
const CONCURRENT_TRANSACTIONS = 51;

/** Where a written batch lies. */
export type Written = { topic: string; partition: number; offset: bigint; records: number };

export const partitionKey = ({ topic, partition }: { topic: string; partition: number }): string =>
  `${topic}/${partition}`;

export class KafkaProducer {
  readonly #settings: ProducerSettings;
  #producer: Producer;
  #isUnsure = false;
  readonly #sequences = new Map<string, number>();
  readonly #topics = new Map<string, PinnedTopic>();

  constructor(settings: ProducerSettings) {
    this.#settings = settings;
    this.#producer = { transactionalId: settings.transactionalId, ...NONE };
  }

  get identity(): Producer {
    return this.#producer;
  }

  /** From now on this topic, as it is: one that is made again under its name is refused. */
  async pin(name: string): Promise<PinnedTopic> {
    const known = this.#topics.get(name);
    if (known) return known;
    const made = await PinnedTopic.pin(this.#settings.client, name);
    if (made === null)
      throw new VarveError('topic_busy', `The brokers do not know the topic ${name} yet.`, {
        facts: { topic: name },
      });
    this.#topics.set(name, made);
    return made;
  }

  /**
   * Becomes the writer of its transactional id: whoever was is fenced, and what it left open is aborted. The
   * second time it asks with its own id and epoch; then an answer `fenced` proves that another has taken
   * over, and who asks once more takes over from that one.
   */
  async begin(): Promise<void> {
    const { client, transactionalId, transactionTimeoutMs } = this.#settings;
    this.#sequences.clear();
    const { id, epoch } = transactionalId === null ? NONE : this.#producer;
    const question = [transactionalId, transactionTimeoutMs, id, epoch] as const;
    const asked = this.askCoordinator('give a producer id', async (node) => {
      const asking = libraryCall(viaNode(client, node), initProducerIdV4, [...question]);
      const given = await asking.catch((thrown: unknown) => {
        this.#isUnsure ||= unknownOutcome(thrown);
        throw thrown;
      });
      this.#isUnsure ||= given.errorCode === CONCURRENT_TRANSACTIONS;
      return given;
    });
    const answer = await asked.catch((thrown: unknown) => {
      if (asVarveError(thrown).kind === 'fenced') this.#producer = { transactionalId, ...NONE };
      throw thrown;
    });
    this.#isUnsure = false;
    this.#producer = { transactionalId, id: answer.producerId, epoch: answer.producerEpoch };
  }

  /** Epochs may have been given at our request of which we did not hear. */
  get isUnsure(): boolean {
    return this.#isUnsure;
  }

  /**
   * Asks the transaction's coordinator, again where that is safe: `ask` must be a question that may repeat.
   */
  askCoordinator<Answer extends { errorCode: number }>(
    what: string,
    ask: (node: number | 'any') => Promise<Answer>,
  ): Promise<Answer> {
    const { client, transactionalId: id, patienceMs: limitMs, closing } = this.#settings;
    const attempt = async (): Promise<Answer> => {
      const answer = await ask(id === null ? 'any' : await client.coordinator(id, 'transaction'));
      if (answer.errorCode === 0) return answer;
      if (id !== null && actionOf(answer.errorCode) === 'refresh') client.forgetCoordinator(id);
      throw kafkaError(answer.errorCode, what, { transactional_id: id });
    };
    return persist(attempt, {
      what,
      limitMs,
      refresh: async () => undefined,
      closing,
      pauseMs: COORDINATOR_PAUSE_MS,
    });
  }

  /** Gives each batch its place in its partition's sequence. */
  sequence(slices: readonly Slice[]): Sequenced[] {
    return slices.map((slice) => {
      const key = partitionKey(slice);
      const sequence = this.#sequences.get(key) ?? 0;
      this.#sequences.set(key, nextSequence(sequence, slice.records));
      return { ...slice, sequence };
    });
  }

  /**
   * Resolves when every batch is acknowledged by all in-sync replicas, in the order given within a partition.
   * On any error nobody knows which of them are there: `begin` is next.
   */
  async produce(batches: readonly Sequenced[]): Promise<Written[]> {
    const { patienceMs, closing } = this.#settings;
    const queues = [...Map.groupBy(batches, partitionKey).values()];
    const written: Written[] = [];
    let until = performance.now() + patienceMs;
    let pauseMs: number = RETRY_PAUSE_MS.first;
    // The first of a partition goes alone: it is the one that is refused while the last transaction is
    // closed.
    for (let window = 1; queues.some((queue) => queue.length > 0); ) {
      const sent = await this.#send(queues.map((queue) => queue.slice(0, window)));
      const failure = this.#settle(queues, sent, written);
      if (failure === null) {
        window = MOST_IN_FLIGHT;
        until = performance.now() + patienceMs;
        continue;
      }
      if (!mayRepeat(failure) || performance.now() > until || closing.aborted) throw failure;
      await sleep(pauseMs, undefined, { signal: closing }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, RETRY_PAUSE_MS.most);
      window = 1;
    }
    return written;
  }

  /** Takes off each queue what is acknowledged; the first failure, if any, of what is left. */
  #settle(queues: Sequenced[][], sent: Sent, written: Written[]): VarveError | null {
    let failure: VarveError | null = null;
    for (const queue of queues) {
      for (let [head] = queue; head !== undefined; [head] = queue) {
        const result = sent.get(head);
        if (result === undefined) break;
        if (result instanceof VarveError) {
          // What cannot be mended by waiting says more than what can.
          if (failure === null || !mayRepeat(result)) failure = result;
          break;
        }
        const { topic, partition, records } = head;
        written.push({ topic, partition, records, offset: result });
        queue.shift();
      }
    }
    return failure;
  }

  /**
   * One request a leader and rank: the first of every partition, then the second ones, all under way at once.
   */
  async #send(queues: readonly (readonly Sequenced[])[]): Promise<Sent> {
    const sent: Sent = new Map();
    const requests: Promise<void>[] = [];
    const places = new Map<string, Place>();
    for (const [head] of queues) {
      if (head === undefined) continue;
      try {
        places.set(partitionKey(head), await (await this.pin(head.topic)).leader(head.partition));
      } catch (thrown) {
        if (!(thrown instanceof VarveError)) throw thrown;
        sent.set(head, thrown);
        await this.#refresh(head.topic);
      }
    }
    for (let rank = 0; rank < MOST_IN_FLIGHT; rank++) {
      const batches = queues.flatMap((queue) => queue[rank] ?? []);
      const placed = batches.filter((batch) => places.has(partitionKey(batch)));
      const nodeOf = (batch: Sequenced): number => (places.get(partitionKey(batch)) as Place).node;
      for (const [node, group] of Map.groupBy(placed, nodeOf)) requests.push(this.#ask(node, group, sent));
    }
    await Promise.all(requests);
    return sent;
  }

  async #ask(node: number, batches: readonly Sequenced[], sent: Sent): Promise<void> {
    const { client, patienceMs: timeoutMs } = this.#settings;
    const question = { producer: this.#producer, timeoutMs };
    try {
      const answer = await client.request(node, PRODUCE, (out) => writeProduce(out, batches, question));
      const produced = new Map(readProduced(answer).map((one) => [partitionKey(one), one]));
      for (const batch of batches) sent.set(batch, this.#judge(batch, produced.get(partitionKey(batch))));
      const moved = batches.filter((batch) => {
        const code = produced.get(partitionKey(batch))?.code ?? 0;
        return actionOf(code) === 'refresh' && code !== 0;
      });
      for (const topic of new Set(moved.map((batch) => batch.topic))) await this.#refresh(topic);
    } catch (thrown) {
      if (!(thrown instanceof VarveError)) throw thrown;
      for (const batch of batches) sent.set(batch, thrown);
    }
  }

  #judge({ topic, partition }: Sequenced, produced: Produced | undefined): bigint | VarveError {
    const facts = { topic, partition };
    if (produced === undefined)
      return new VarveError('protocol_error', `A broker said nothing of a batch for ${topic}.`, { facts });
    if (produced.code === 0) return produced.offset;
    const why = produced.message === '' ? '' : ` (${produced.message})`;
    return kafkaError(produced.code, `write to partition ${partition} of ${topic}${why}`, facts);
  }

  /** Leaders may have moved; what cannot be asked now is asked again before the next attempt. */
  async #refresh(topic: string): Promise<void> {
    await this.#topics
      .get(topic)
      ?.refresh()
      .catch(() => undefined);
  }
}

/** Offset of each batch that was sent, or why it was not taken. */
type Sent = Map<Sequenced, bigint | VarveError>;
