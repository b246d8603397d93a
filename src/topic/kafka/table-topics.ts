// Owns the topics that a pipeline writes, as they must be: made with stated settings, refused by name where
// one breaks a guarantee. Knows no record.
import { VarveError } from '../../errors.ts';
import type { EnsuredTopic, TopicSettings } from '../publisher.ts';
import { createTopic, describeTopic, type TopicDescription } from './admin.ts';
import type { KafkaClient } from './client.ts';
import { comesTrue } from './patience.ts';
import { stateTopic } from './state-topic.ts';
import { type TopicNeeds, verifySettings } from './topic-settings.ts';

export type TopicPlan = {
  client: KafkaClient;
  /** First part of every topic's name. */
  prefix: string;
  /** Copies of a topic that is made; null: the cluster's default. */
  replication: number | null;
  /** Of a topic that is made; null: the cluster's default. */
  retentionMs: number | null;
};

/** A broker may hear of a topic later than its leader does; what is absent for longer is not there. */
const SPREADING = {
  limitMs: 3000,
  pauseMs: { first: 50, most: 500 },
  closing: new AbortController().signal,
};
/** Larger batches compress no better, and cost a reader more at once. */
const BATCH_BYTES = 1_000_000;
/** What a batch has beside its one record. */
const BATCH_OVERHEAD_BYTES = 128;
/** A state record and its transaction's list of places. */
const STATE_BATCH_BYTES = 1 << 16;

/** As Kafka writes it. */
const KEPT_FOR_EVER = -1;

/** Compacted soon and often: a start reads it whole. */
const STATE_SETTINGS = {
  'cleanup.policy': 'compact',
  'segment.ms': '600000',
  'min.cleanable.dirty.ratio': '0.1',
} as const;

type Wanted = {
  partitions: number;
  config: Record<string, string>;
  needs: TopicNeeds;
  /** As `TopicSettings.id`. */
  id?: string | null;
};

export class TableTopics {
  readonly #plan: TopicPlan;
  readonly #known = new Map<string, Promise<EnsuredTopic>>();

  constructor(plan: TopicPlan) {
    this.#plan = plan;
  }

  async ensureState(): Promise<void> {
    const needs: TopicNeeds = { role: 'state', batchBytes: STATE_BATCH_BYTES };
    await this.#ensure(stateTopic(this.#plan.prefix), { partitions: 1, config: STATE_SETTINGS, needs });
  }

  /**
   * Made with so many partitions where there is none; one that exists keeps its own. Throws `topic_unfit`,
   * `topic_changed`.
   */
  ensure(name: string, settings: TopicSettings): Promise<EnsuredTopic> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const made = this.#ensureTable(name, settings);
    this.#known.set(name, made);
    made.catch(() => this.#known.delete(name));
    return made;
  }

  /** After a failure: they may have been what failed. */
  forget(): void {
    this.#known.clear();
  }

  /** 0: there is no such topic. */
  async partitions(name: string): Promise<number> {
    const known = await this.#known.get(name);
    return known?.partitions ?? (await this.#plan.client.topic(name))?.partitions.length ?? 0;
  }

  async #ensureTable(name: string, { partitions, id = null }: TopicSettings): Promise<EnsuredTopic> {
    const { prefix } = this.#plan;
    // What waits to go on, or is buried, waits for people: it must not expire meanwhile.
    const retentionMs = name.startsWith(`${prefix}.varve.`) ? KEPT_FOR_EVER : this.#plan.retentionMs;
    const config = {
      'cleanup.policy': 'delete',
      ...(retentionMs === null ? {} : { 'retention.ms': String(retentionMs) }),
    };
    const needs: TopicNeeds = { role: 'table', batchBytes: 0 };
    const found = await this.#ensure(name, { partitions, config, needs, id });
    const most = Number(found.config.get('max.message.bytes') ?? BATCH_BYTES);
    const maxRecordBytes = most - BATCH_OVERHEAD_BYTES;
    return {
      id: found.id,
      partitions: found.partitions,
      maxRecordBytes,
      batchBytes: Math.min(BATCH_BYTES, maxRecordBytes),
    };
  }

  async #findOrMake(
    name: string,
    { partitions, config }: Pick<Wanted, 'partitions' | 'config'>,
  ): Promise<TopicDescription> {
    const { client, replication } = this.#plan;
    const known = await describeTopic(client, name);
    if (known !== null) return known;
    await createTopic(client, name, { partitions, replication, config });
    const made = await describeTopic(client, name);
    if (made !== null) return made;
    throw new VarveError('topic_busy', `The topic ${name} was made and is not there yet.`, {
      facts: { topic: name },
    });
  }

  /** Makes nothing. */
  async #findSame(name: string, before: string): Promise<TopicDescription> {
    let found: TopicDescription | null = null;
    const isThere = async (): Promise<boolean> => {
      found = await describeTopic(this.#plan.client, name);
      return found !== null;
    };
    await comesTrue(isThere, SPREADING);
    const { id: now } = found ?? { id: null };
    if (found !== null && now === before) return found;
    const how = now === null ? 'deleted' : 'deleted and made again';
    throw new VarveError(
      'topic_changed',
      `The topic ${name} was ${how} since it was written last, with all that was in it. Make sure ` +
        'that nobody deletes topics of a pipeline. varve snapshot FILE TABLE publishes ' +
        'the rows that the table has now.',
      { facts: { topic: name, before, now } },
    );
  }

  async #ensure(name: string, { partitions, config, needs, id = null }: Wanted): Promise<TopicDescription> {
    const found =
      id === null ? await this.#findOrMake(name, { partitions, config }) : await this.#findSame(name, id);
    const wrong = verifySettings(name, found, needs).filter(({ level }) => level === 'error');
    if (wrong.length === 0) return found;
    throw new VarveError('topic_unfit', wrong.map(({ what, fix }) => `${what} ${fix}`).join('\n'), {
      facts: { topic: name },
    });
  }
}
