// That workers in a group share topics: each topic has one worker, whoever comes, goes, or is cut off; and
// who is cut off knows it before the others take over. On a real broker.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeGroupsV5 } from '@platformatic/kafka';
import { VarveError } from '../../../src/errors.ts';
import { KafkaClient } from '../../../src/topic/kafka/client.ts';
import { GroupMembership } from '../../../src/topic/kafka/group.ts';
import { viaNode } from '../../../src/topic/kafka/leaders.ts';
import { libraryCall } from '../../../src/topic/kafka/library-call.ts';
import { startKafka } from '../../support/kafka.ts';

/** The shortest that a broker takes. */
const SESSION_MS = 6000;
const TOPICS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const limits = { timeout: 120_000 };
const never = new AbortController().signal;

type Options = ConstructorParameters<typeof GroupMembership>[0];
type Member = { client: KafkaClient; membership: GroupMembership };

const makeGroup = (brokers: readonly string[]) => {
  const group = randomUUID();
  const all: Member[] = [];
  return {
    name: group,
    join: async (topics: readonly string[] = TOPICS, more: Partial<Options> = {}): Promise<Member> => {
      const client = await KafkaClient.open({ brokers, clientId: 'test' });
      const membership = new GroupMembership({ client, group, topics, sessionMs: SESSION_MS, ...more });
      const member = { client, membership };
      all.push(member);
      return member;
    },
    [Symbol.asyncDispose]: async () => {
      for (const { client, membership } of all) {
        await membership.close();
        await client.close();
      }
    },
  };
};

const sharesOf = (members: readonly Member[]): string[][] =>
  members.map(({ membership }) => [...membership.share()].sort());

const stateOf = async ({ client }: Member, group: string): Promise<string | undefined> => {
  const node = await client.coordinator(group, 'group');
  const answer = await libraryCall(viaNode(client, node), describeGroupsV5, [[group], false]);
  return answer.groups[0]?.groupState;
};

/** Until these members have all topics among them, evenly. */
const settle = async (
  members: readonly Member[],
  topics: readonly string[] = TOPICS,
): Promise<string[][]> => {
  for (;;) {
    const shares = sharesOf(members);
    const sizes = shares.map(({ length }) => length);
    const isWhole = shares.flat().sort().join() === [...topics].sort().join();
    if (isWhole && Math.max(...sizes) - Math.min(...sizes) <= 1) return shares;
    await members[0]?.membership.changed(100, never);
  }
};

test('who comes gets a share, who leaves gives it back, new topics are shared too', limits, async () => {
  await using broker = await startKafka();
  await using group = makeGroup(broker.brokers);
  const first = await group.join();
  assert.deepEqual(await settle([first]), [TOPICS]);
  const second = await group.join();
  const [before = []] = await settle([first, second]);
  assert.ok(before.length >= 3);
  const third = await group.join();
  const [after = []] = await settle([first, second, third]);
  assert.ok(after.every((topic) => before.includes(topic)));
  second.membership.offer(['h', 'a']);
  await settle([first, second, third], [...TOPICS, 'h']);
  // What only the one who leaves knows of, nobody can go on with.
  first.membership.offer(['h']);
  await second.membership.close();
  assert.deepEqual([...second.membership.share()], []);
  await settle([first, third], [...TOPICS, 'h']);
});

test(
  'who is cut off has lost its share before another has it; a restarted broker ends nothing',
  limits,
  async () => {
    await using broker = await startKafka();
    await using group = makeGroup(broker.brokers);
    const [first, second] = [await group.join(), await group.join()];
    const shares = await settle([first, second]);
    await second.client.close();
    for (let isOver = false; !isOver; ) {
      const [mine = [], theirs = []] = sharesOf([first, second]);
      assert.ok(
        mine.every((topic) => !theirs.includes(topic)),
        `${mine} and ${theirs}`,
      );
      isOver = mine.length === TOPICS.length;
      await sleep(20);
    }
    assert.equal(shares.flat().length, TOPICS.length);
    await broker.stop();
    await broker.restart();
    const third = await group.join();
    await settle([first, third]);
  },
);

test('members that come and go all the time leave no topic without a worker', limits, async () => {
  await using broker = await startKafka();
  await using group = makeGroup(broker.brokers);
  const steady = [await group.join(), await group.join()];
  for (let round = 0; round < 4; round++) {
    const guest = await group.join();
    await guest.membership.changed(1000, never);
    await guest.membership.close();
  }
  await settle(steady);
});

test(
  'who is the first has all at once, long before Kafka has waited for others to come',
  limits,
  async () => {
    await using broker = await startKafka({ settings: { 'group.initial.rebalance.delay.ms': '5000' } });
    await using group = makeGroup(broker.brokers);
    const first = await group.join();
    assert.deepEqual(await settle([first]), [TOPICS]);
    assert.notEqual(await stateOf(first, group.name), 'Stable');
    first.membership.offer(['h']);
    assert.deepEqual(sharesOf([first]), [[...TOPICS, 'h']]);
    const second = await group.join();
    await settle([first, second], [...TOPICS, 'h']);
  },
);

test('the broker that knows the group dies, and then the next one', limits, async () => {
  await using broker = await startKafka({ brokers: 3 });
  await using group = makeGroup(broker.brokers);
  const members = [await group.join(), await group.join(), await group.join()];
  for (let round = 0; round < 2; round++) {
    await settle(members);
    const node = (await members[0]?.client.coordinator(group.name, 'group')) ?? 0;
    await broker.kill(node);
    const guest = await group.join([...TOPICS, 'h']);
    await settle([...members, guest], [...TOPICS, 'h']);
    await guest.membership.close();
    await broker.restart(node);
  }
  // What only the guest knew of went with it.
  await settle(members);
});

test('trouble is told once, and its end; what no waiting mends is thrown', limits, async () => {
  await using broker = await startKafka();
  await using group = makeGroup(broker.brokers);
  const told: (string | null)[] = [];
  const member = await group.join(TOPICS, { onStanding: (trouble) => told.push(trouble?.kind ?? null) });
  await settle([member]);
  await broker.kill();
  while (told.length === 0) await sleep(20);
  await broker.restart();
  while (told.length === 1) await sleep(20);
  assert.equal(told[1], null);
  assert.match(told[0] ?? '', /^topic_(unreachable|busy)$/);
  await settle([member]);
  const hasty = await group.join(TOPICS, { sessionMs: 1 });
  for (let thrown: unknown = null; thrown === null; await sleep(20)) {
    try {
      hasty.membership.share();
    } catch (error) {
      thrown = error;
      assert.ok(error instanceof VarveError);
      assert.equal(error.kind, 'topic_unfit');
      assert.match(error.message, /INVALID_SESSION_TIMEOUT/);
    }
  }
});
