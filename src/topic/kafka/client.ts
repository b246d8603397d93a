// Owns what is known of the cluster: which broker is where, who leads a partition, who coordinates a
// transaction, and one request to one of them. Knows no record, no transaction and no topic setting.
import { findCoordinatorV4, metadataV12, type Reader, type Writer } from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import { type ApiCall, BrokerLine, type LineSettings, type VersionRange } from './connections.ts';
import { actionOf, kafkaError, unreachable } from './errors.ts';
import { libraryCall } from './library-call.ts';
import { type SaslSettings, type TlsSettings, verifySecurity } from './security.ts';

export type KafkaSettings = {
  /** `host:port`; the rest of the cluster is learned from whichever answers. */
  brokers: readonly string[];
  /** What brokers write in their request logs. */
  clientId: string;
  tls?: TlsSettings | null;
  sasl?: SaslSettings | null;
  requestTimeoutMs?: number;
};

/** `leader` -1: none at present. `inSync`: how many replicas are. */
type PartitionMetadata = { leader: number; leaderEpoch: number; replicas: number; inSync: number };

/** `id`: uuid text, another one after the topic was deleted and made again. Partitions by number. */
export type TopicMetadata = { name: string; id: string; partitions: readonly PartitionMetadata[] };

type Known = { topic: TopicMetadata; askedAtMs: number };
type MetadataAnswer = ReturnType<typeof metadataV12.parseResponse>;

const REQUEST_TIMEOUT_MS = 30_000;
/** For questions that any broker can answer, so that one which hangs does not hold up the others. */
const QUESTION_TIMEOUT_MS = 5_000;
/** Partitions can be added without anybody being told. */
const METADATA_MAX_AGE_MS = 300_000;
const COORDINATOR_PAUSE_MS = 100;
/** A new controller has to be elected first, at worst. */
const COORDINATOR_WITHIN_MS = 30_000;
const CLOSED = 'The connection to Kafka was closed by this process.';
const [UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE] = [3, 5];
const COORDINATOR_KINDS = { group: 0, transaction: 1 } as const;

const addressOf = (broker: string): string => {
  const address = /:\d+$/.test(broker) ? broker : `${broker}:9092`;
  if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:/@]+):\d{1,5}$/.test(address)) {
    throw new VarveError(
      'config_invalid',
      'A Kafka broker is written host:port, without a scheme or a user.',
    );
  }
  return address;
};

const joinAddress = (host: string, port: number): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

const topicOf = (answered: MetadataAnswer['topics'][number], name: string): TopicMetadata => ({
  name,
  id: answered.topicId,
  partitions: answered.partitions
    .toSorted((a, b) => a.partitionIndex - b.partitionIndex)
    .map(({ errorCode, leaderId, leaderEpoch, replicaNodes, isrNodes }) => ({
      leader: errorCode === LEADER_NOT_AVAILABLE ? -1 : leaderId,
      leaderEpoch,
      replicas: replicaNodes.length,
      inSync: isrNodes.length,
    })),
});

export class KafkaClient {
  readonly #bootstrap: readonly string[];
  readonly #settings: LineSettings;
  /** By address and lane. */
  readonly #lines = new Map<string, BrokerLine>();
  readonly #nodes = new Map<number, string>();
  readonly #topics = new Map<string, Known>();
  /** By kind and key. */
  readonly #coordinators = new Map<string, number>();
  #controller = -1;
  #isClosed = false;

  private constructor({ brokers, clientId, tls = null, sasl = null, requestTimeoutMs }: KafkaSettings) {
    if (brokers.length === 0) throw new VarveError('config_invalid', 'No Kafka broker is given.');
    verifySecurity(tls, sasl);
    this.#bootstrap = brokers.map(addressOf);
    this.#settings = { clientId, tls, sasl, requestTimeoutMs: requestTimeoutMs ?? REQUEST_TIMEOUT_MS };
  }

  /**
   * Has met the cluster when it resolves. Throws `topic_unreachable` (no broker answers; retry),
   * `topic_denied` (TLS, authentication, rights), `topic_unfit` (too old), `config_invalid`.
   */
  static async open(settings: KafkaSettings): Promise<KafkaClient> {
    const client = new KafkaClient(settings);
    try {
      await client.#update([]);
      return client;
    } catch (thrown) {
      await client.close();
      throw thrown;
    }
  }

  /** From the cache, asked when unknown, old, or after a connection was lost; null: it does not exist. */
  async topic(name: string): Promise<TopicMetadata | null> {
    const known = this.#topics.get(name);
    if (known && performance.now() - known.askedAtMs < METADATA_MAX_AGE_MS) return known.topic;
    const code = (await this.#update([name])).get(name) ?? UNKNOWN_TOPIC;
    if (code !== 0 && code !== UNKNOWN_TOPIC && code !== LEADER_NOT_AVAILABLE) {
      throw kafkaError(code, `describe the topic ${name}`, { topic: name });
    }
    return this.#topics.get(name)?.topic ?? null;
  }

  /** Every topic this user may see, asked now. */
  async topics(): Promise<readonly string[]> {
    return [...(await this.#update(null))].filter(([, code]) => code !== UNKNOWN_TOPIC).map(([name]) => name);
  }

  /** Asks again: these topics, or all known ones. What is gone or denied is forgotten, not an error. */
  async refresh(names: readonly string[] = [...this.#topics.keys()]): Promise<void> {
    await this.#update(names);
  }

  /**
   * Node id, cached. A cluster that is still electing, or making its own topic for this, is asked again for a
   * while; then throws `topic_busy`.
   */
  async coordinator(key: string, kind: keyof typeof COORDINATOR_KINDS): Promise<number> {
    const known = this.#coordinators.get(`${kind} ${key}`);
    if (known !== undefined) return known;
    const deadlineMs = performance.now() + COORDINATOR_WITHIN_MS;
    for (;;) {
      const question: [number, string[]] = [COORDINATOR_KINDS[kind], [key]];
      const [found] = (await libraryCall(this.#askAny, findCoordinatorV4, question)).coordinators;
      const code = found?.errorCode ?? -1;
      if (found && code === 0) {
        this.#nodes.set(found.nodeId, joinAddress(found.host, found.port));
        this.#coordinators.set(`${kind} ${key}`, found.nodeId);
        return found.nodeId;
      }
      if (actionOf(code) === 'stop' || performance.now() > deadlineMs) {
        throw kafkaError(code, `name the coordinator of the ${kind} ${key}`, { [kind]: key });
      }
      await new Promise((resolve) => setTimeout(resolve, COORDINATOR_PAUSE_MS));
    }
  }

  /** After NOT_COORDINATOR, or when it does not answer. */
  forgetCoordinator(key: string): void {
    for (const kind of Object.keys(COORDINATOR_KINDS)) this.#coordinators.delete(`${kind} ${key}`);
  }

  /** The brokers that the cluster says are up. */
  nodes(): readonly number[] {
    return [...this.#nodes.keys()];
  }

  /** The node that takes requests which change topics. */
  async controller(): Promise<number> {
    if (this.#controller < 0) await this.#update([]);
    if (this.#controller < 0) throw unreachable('The cluster has no controller at present.', false);
    return this.#controller;
  }

  /**
   * One request; `write` fills the body behind the request header. Resolves with a Reader at the answer's
   * body, behind its header. Rejects with `topic_unreachable` when the connection dies or the time limit
   * passes: see `unknownOutcome`. Requests to one node (and lane) go out in call order and are pipelined.
   * `any` asks one broker after the other until one answers, so it is for questions only.
   */
  request(node: number | 'any', api: ApiCall, write: (out: Writer) => void): Promise<Reader> {
    if (node === 'any') return this.#askAny(api, write);
    if (this.#isClosed) return Promise.reject(unreachable(CLOSED, false));
    const address = this.#nodes.get(node);
    if (address === undefined) {
      this.#lost(node);
      return Promise.reject(unreachable(`The cluster does not say where its broker ${node} is.`, false));
    }
    return this.#line(address, api.lane)
      .ask(api, write)
      .catch((thrown: unknown) => {
        this.#lost(node);
        throw this.#withOrigin(thrown, node, address);
      });
  }

  /** Which versions of an API the broker speaks; `max` below `min`: none. */
  async supports(node: number | 'any', key: number): Promise<VersionRange> {
    const { ranges } = await this.#abilities(node);
    return ranges.get(key) ?? { min: 0, max: -1 };
  }

  /** The level at which the whole cluster runs a feature, such as `transaction.version`; 0 when absent. */
  async feature(name: string): Promise<number> {
    return (await this.#abilities('any')).features.get(name) ?? 0;
  }

  /** Kills the connections to one node, or all. The next request makes new ones. */
  drop(node?: number): void {
    const address = node === undefined ? undefined : this.#nodes.get(node);
    for (const line of this.#lines.values()) {
      if (node === undefined || line.address === address)
        line.kill(`The connection to ${line.address} was cut.`);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.drop();
    this.#lines.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #line(address: string, lane = ''): BrokerLine {
    const key = `${address} ${lane}`;
    const line = this.#lines.get(key) ?? new BrokerLine(address, this.#settings);
    if (!this.#isClosed) this.#lines.set(key, line);
    return line;
  }

  /** Those that answer first, then those known, then those of the configuration. */
  #candidates(): readonly string[] {
    const open = [...this.#lines.values()].filter(({ isOpen }) => isOpen).map(({ address }) => address);
    return [...new Set([...open, ...this.#nodes.values(), ...this.#bootstrap])];
  }

  readonly #askAny = (api: ApiCall, write: (out: Writer) => void): Promise<Reader> => {
    const timeoutMs = api.timeoutMs ?? Math.min(QUESTION_TIMEOUT_MS, this.#settings.requestTimeoutMs);
    return this.#first((line) => line.ask({ ...api, timeoutMs }, write), api.lane);
  };

  async #first<Answer>(ask: (line: BrokerLine) => Promise<Answer>, lane?: string): Promise<Answer> {
    if (this.#isClosed) throw unreachable(CLOSED, false);
    const refusals: VarveError[] = [];
    for (const address of this.#candidates()) {
      try {
        return await ask(this.#line(address, lane));
      } catch (thrown) {
        if (!(thrown instanceof VarveError) || thrown.kind !== 'topic_unreachable') throw thrown;
        refusals.push(thrown);
      }
    }
    // A question changes nothing, whether or not it arrived.
    const said = [...new Set(refusals.map(({ message }) => message))].join(' ');
    throw unreachable(`No Kafka broker answers. ${said}`, false, refusals[0]);
  }

  async #abilities(node: number | 'any'): ReturnType<BrokerLine['abilities']> {
    if (node === 'any') return this.#first((line) => line.abilities());
    const address = this.#nodes.get(node);
    if (address === undefined)
      throw unreachable(`The cluster does not say where its broker ${node} is.`, false);
    return this.#line(address).abilities();
  }

  /** Asks for the brokers and these topics (null: all); the code of each topic. */
  async #update(names: readonly string[] | null): Promise<ReadonlyMap<string, number>> {
    const question: [string[] | null, boolean, boolean] = [names ? [...names] : null, false, false];
    const answer = await libraryCall(this.#askAny, metadataV12, question);
    this.#nodes.clear();
    for (const { nodeId, host, port } of answer.brokers) this.#nodes.set(nodeId, joinAddress(host, port));
    this.#controller = answer.controllerId;
    const askedAtMs = performance.now();
    const codes = new Map<string, number>();
    for (const answered of answer.topics) {
      const { name, errorCode } = answered;
      if (!name) continue;
      codes.set(name, errorCode);
      const exists = errorCode === 0 || errorCode === LEADER_NOT_AVAILABLE;
      if (exists) this.#topics.set(name, { topic: topicOf(answered, name), askedAtMs });
      else this.#topics.delete(name);
    }
    return codes;
  }

  /** Whatever was led or coordinated there may be elsewhere by now. */
  #lost(node: number): void {
    this.#topics.clear();
    this.#controller = -1;
    for (const [key, at] of this.#coordinators) if (at === node) this.#coordinators.delete(key);
  }

  /** An address that only the cluster told us is the likeliest thing to be wrong. */
  #withOrigin(thrown: unknown, node: number, address: string): unknown {
    if (!(thrown instanceof VarveError) || thrown.facts.outcome !== 'no_effect') return thrown;
    if (this.#bootstrap.includes(address)) return thrown;
    const sentence =
      `Broker ${node} of the cluster at ${this.#bootstrap.join(', ')} announces itself as ${address} ` +
      `(advertised.listeners), which cannot be reached from here: ${thrown.message}`;
    return unreachable(sentence, false, thrown);
  }
}
