// Owns membership in a group of workers that share topics: joining, being told one's share, and giving it up
// in time. It only spreads the work: what makes two workers on one table harmless is the table's own commit.
// https://kafka.apache.org/protocol#The_Messages_JoinGroup and the three behind it. Knows no offset.
import { setTimeout as sleep } from 'node:timers/promises';
import {
  describeGroupsV5,
  heartbeatV4,
  joinGroupV7,
  leaveGroupV4,
  type Reader,
  syncGroupV5,
  type Writer,
} from '@platformatic/kafka';
import { asVarveError, type VarveError } from '../../errors.ts';
import type { KafkaClient } from './client.ts';
import type { ApiCall } from './connections.ts';
import { kafkaError } from './errors.ts';
import { libraryCall } from './library-call.ts';
import { persist } from './patience.ts';
import { type Candidate, shareTopics } from './share.ts';

type GroupOptions = {
  /** Stays the caller's. */
  client: KafkaClient;
  group: string;
  /** What there is to share, as far as this member knows; others may know of more. */
  topics: readonly string[];
  /** Told of trouble that may pass, and with null once it has. */
  onStanding?: (trouble: VarveError | null) => void;
  /** A member that is not heard for so long has lost its share, and knows it. */
  sessionMs?: number;
};

/** Codes that ask for another way into the group, not for patience. */
const [ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, MEMBER_ID_REQUIRED] = [22, 25, 27, 79];
/** Not `consumer`, so that tools do not look for offsets. */
const PROTOCOL = { type: 'varve', name: 'share-1' } as const;
const SESSION_MS = 10_000;
const PAUSE_MS = 100;
/** Who cannot leave in this time is found out by its silence. */
const LEAVE_MS = 2000;
const EMPTY_STATES = ['Empty', 'Dead'];
const NOBODY = '';
const NO_TOPICS: ReadonlySet<string> = new Set();

type Generation = { id: number; member: string };
type Ask = (api: ApiCall, write: (out: Writer) => void) => Promise<Reader>;
type Knowledge = Pick<Candidate, 'topics' | 'owned'>;

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

export class GroupMembership {
  readonly #options: GroupOptions;
  readonly #sessionMs: number;
  readonly #closing = new AbortController();
  readonly #waiters = new Set<() => void>();
  #topics: readonly string[];
  /** Set when the others should hear of new topics. */
  #hasNews = false;
  #member = NOBODY;
  #share = NO_TOPICS;
  /** Nobody else is there: what this member hears of is its own, and nobody need be told. */
  #isAlone = false;
  /** The share counts until then, on this process's clock, which began before the coordinator's. */
  #leaseEndsMs = 0;
  #failure: VarveError | null = null;
  #isInTrouble = false;

  constructor(options: GroupOptions) {
    this.#options = options;
    this.#sessionMs = options.sessionMs ?? SESSION_MS;
    this.#topics = options.topics;
    // Never throws: what goes wrong is told by `share`.
    void this.#run();
  }

  /**
   * The topics that are this member's now; none while it is not known to the coordinator. To be asked before
   * each piece of work. Throws what no waiting mends, such as `topic_denied`.
   */
  share(): ReadonlySet<string> {
    if (this.#failure !== null) throw this.#failure;
    if (performance.now() >= this.#leaseEndsMs || this.#closing.signal.aborted) return NO_TOPICS;
    return this.#isAlone ? new Set(this.#topics) : this.#share;
  }

  /** More topics to share; the group is told. */
  offer(topics: readonly string[]): void {
    const more = topics.filter((topic) => !this.#topics.includes(topic));
    if (more.length === 0) return;
    this.#topics = [...this.#topics, ...more];
    this.#hasNews = !this.#isAlone;
  }

  /** Resolves when the share may have changed, when the signal aborts, or after `timeoutMs`. */
  async changed(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const woken = Promise.withResolvers<void>();
    this.#waiters.add(woken.resolve);
    const either = AbortSignal.any([signal, this.#closing.signal]);
    const late = sleep(timeoutMs, undefined, { signal: either }).catch(() => undefined);
    await Promise.race([woken.promise, late]);
    this.#waiters.delete(woken.resolve);
  }

  /** Leaves, so that the others take over at once. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#wake();
    const [left, late] = [this.#leave(), sleep(LEAVE_MS, undefined, { ref: false })];
    await Promise.race([left.catch(() => undefined), late]);
    // A question to join that still waits there is answered when the member is gone, or the client closed.
  }

  async #leave(): Promise<void> {
    if (this.#member === NOBODY) return;
    // Not behind a question to join that is still waiting.
    const ask = await this.#asker(LEAVE_MS, 'leave');
    await libraryCall(ask, leaveGroupV4, [this.#options.group, [{ memberId: this.#member }]]);
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    // Else the first one would wait for others to come: group.initial.rebalance.delay.ms, 3 s as Kafka is
    // delivered.
    await persist(() => this.#beginAlone(), {
      what: 'ask who is in the group',
      limitMs: this.#sessionMs,
      refresh: async () => this.#options.client.forgetCoordinator(this.#options.group),
      closing: signal,
    }).catch(() => undefined);
    while (!signal.aborted && this.#failure === null) {
      try {
        const generation = await this.#join();
        if (generation !== null) await this.#stay(generation);
      } catch (thrown) {
        this.#suffer(asVarveError(thrown));
      }
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #beginAlone(): Promise<void> {
    const sinceMs = performance.now();
    const ask = await this.#asker(this.#sessionMs);
    const question: [string[], boolean] = [[this.#options.group], false];
    const [found] = (await libraryCall(ask, describeGroupsV5, question)).groups;
    if (found?.errorCode !== 0) throw this.#refusal(found?.errorCode ?? -1, 'describe');
    if (!EMPTY_STATES.includes(found.groupState)) return;
    this.#isAlone = true;
    this.#leaseEndsMs = sinceMs + this.#sessionMs;
    this.#wake();
  }

  #suffer(error: VarveError): void {
    if (this.#closing.signal.aborted) return;
    if (error.outcome !== 'retry') this.#failure = error;
    else if (!this.#isInTrouble) this.#options.onStanding?.(error);
    this.#isInTrouble = true;
    this.#options.client.forgetCoordinator(this.#options.group);
    this.#wake();
  }

  /** The coordinator has answered, and this member is in. */
  #renew(leaseEndsMs: number): void {
    // Never back: the last answer may have promised more than one that took long to come.
    this.#leaseEndsMs = Math.max(this.#leaseEndsMs, leaseEndsMs);
    if (this.#isInTrouble) this.#options.onStanding?.(null);
    this.#isInTrouble = false;
  }

  /** Null: it has to be tried again. Takes as long as the slowest member needs to come. */
  async #join(): Promise<Generation | null> {
    const { group } = this.#options;
    const ask = await this.#asker(this.#sessionMs * 3);
    const topics = this.#topics;
    const knowledge: Knowledge = { topics, owned: [...this.share()] };
    const protocols = [{ name: PROTOCOL.name, metadata: bytesOf(knowledge) }];
    const { type } = PROTOCOL;
    const [sessionMs, member] = [this.#sessionMs, this.#member];
    const joined = await libraryCall(ask, joinGroupV7, [
      group,
      sessionMs,
      sessionMs,
      member,
      null,
      type,
      protocols,
    ]);
    if (joined.errorCode === MEMBER_ID_REQUIRED) this.#member = joined.memberId;
    if (!this.#isIn(joined.errorCode, 'join')) return null;
    const generation = { id: joined.generationId, member: joined.memberId };
    this.#member = joined.memberId;
    const shares = joined.leader === joined.memberId ? assign(joined.members) : [];
    const question: Parameters<typeof syncGroupV5.createRequest> = [
      group,
      generation.id,
      generation.member,
      null,
      type,
      PROTOCOL.name,
      shares,
    ];
    const syncSinceMs = performance.now();
    const synced = await libraryCall(ask, syncGroupV5, question);
    if (!this.#isIn(synced.errorCode, 'share')) return null;
    this.#share = new Set(JSON.parse(synced.assignment.toString() || '[]') as string[]);
    this.#isAlone = joined.members.length === 1;
    this.#hasNews = !this.#isAlone && this.#topics !== topics;
    // The coordinator began to count not before it was asked.
    this.#renew(syncSinceMs + this.#sessionMs);
    this.#wake();
    return generation;
  }

  /** Says that it is alive, until there is reason to join again. */
  async #stay({ id, member }: Generation): Promise<void> {
    const { group } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted && !this.#hasNews) {
      const sinceMs = performance.now();
      const ask = await this.#asker(this.#sessionMs);
      const { errorCode } = await libraryCall(ask, heartbeatV4, [group, id, member, null]);
      if (!this.#isIn(errorCode, 'stay in')) return;
      this.#renew(sinceMs + this.#sessionMs);
      await sleep(this.#sessionMs / 10, undefined, { signal }).catch(() => undefined);
    }
  }

  /** False: join again. Throws what only time or somebody mends. */
  #isIn(code: number, what: string): boolean {
    if (code === 0) return true;
    if (code === MEMBER_ID_REQUIRED || code === REBALANCING) return false;
    if (code === UNKNOWN_MEMBER || code === ILLEGAL_GENERATION) {
      // Somebody else has the share already.
      this.#leaseEndsMs = 0;
      if (code === UNKNOWN_MEMBER) this.#member = NOBODY;
      this.#wake();
      return false;
    }
    throw this.#refusal(code, what);
  }

  #refusal(code: number, what: string): VarveError {
    const { group } = this.#options;
    return kafkaError(code, `${what} the group ${group}`, { group });
  }

  async #asker(timeoutMs: number, lane = 'group'): Promise<Ask> {
    const { client, group } = this.#options;
    const node = await client.coordinator(group, 'group');
    return (api, write) => client.request(node, { ...api, timeoutMs, lane }, write);
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }
}

const assign = (
  members: readonly { memberId: string; metadata: Buffer }[],
): { memberId: string; assignment: Buffer }[] => {
  const candidates = members.map(({ memberId: id, metadata }) => ({
    id,
    ...(JSON.parse(metadata.toString()) as Knowledge),
  }));
  return [...shareTopics(candidates)].map(([memberId, topics]) => ({
    memberId,
    assignment: bytesOf(topics),
  }));
};
