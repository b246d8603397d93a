// Which settings of a topic are refused, and which are shown; without a broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TopicDescription } from '../../../src/topic/kafka/admin.ts';
import { type TopicRole, verifySettings } from '../../../src/topic/kafka/topic-settings.ts';

const SOUND = {
  'cleanup.policy': 'delete',
  'max.message.bytes': '16777216',
  'min.insync.replicas': '2',
  'unclean.leader.election.enable': 'false',
  'retention.ms': '604800000',
  'retention.bytes': '-1',
  'message.timestamp.type': 'CreateTime',
  'message.timestamp.before.max.ms': '9223372036854775807',
  'compression.type': 'producer',
};

type Change = {
  role?: TopicRole;
  partitions?: number;
  replication?: number;
  config?: Record<string, string>;
};

const judge = ({ role = 'table', partitions = 1, replication = 3, config = {} }: Change): string[] => {
  const policy = role === 'state' ? { 'cleanup.policy': 'compact' } : {};
  const found: TopicDescription = {
    id: '00000000-0000-0000-0000-000000000001',
    partitions,
    replication,
    config: new Map(Object.entries({ ...SOUND, ...policy, ...config })),
  };
  const findings = verifySettings('shop.orders', found, { role, batchBytes: 8_388_608 });
  for (const { what, fix } of findings) {
    assert.match(what, /shop\.orders/);
    assert.notEqual(fix, '');
  }
  return findings.map(({ level, what }) => `${level}: ${what}`);
};

/** Exactly one finding, of this level, which says this. */
const only = (findings: string[], level: 'error' | 'warning', says: RegExp): void => {
  assert.equal(findings.length, 1, findings.join('\n'));
  assert.match(findings[0] ?? '', new RegExp(`^${level}: `));
  assert.match(findings[0] ?? '', says);
};

test('sound settings say nothing', () => {
  assert.deepEqual(judge({ partitions: 12 }), []);
  assert.deepEqual(judge({ role: 'state' }), []);
});

test('a table that is compacted is refused, alone or with delete', () => {
  for (const policy of ['compact', 'compact,delete', 'delete, compact']) {
    only(judge({ config: { 'cleanup.policy': policy } }), 'error', /compacted/);
  }
});

test('state that can expire is refused, and so is state in several partitions', () => {
  for (const policy of ['delete', 'compact,delete', '']) {
    only(judge({ role: 'state', config: { 'cleanup.policy': policy } }), 'error', /expire/);
  }
  only(judge({ role: 'state', partitions: 2 }), 'error', /2 partitions/);
});

test('a topic that does not take our largest batch is refused', () => {
  only(judge({ config: { 'max.message.bytes': '8388607' } }), 'error', /8388607 bytes/);
  assert.deepEqual(judge({ config: { 'max.message.bytes': '8388608' } }), []);
});

test('what weakens durability is shown', () => {
  only(judge({ replication: 2 }), 'warning', /2 replica/);
  only(judge({ config: { 'min.insync.replicas': '1' } }), 'warning', /acknowledges/);
  only(judge({ config: { 'unclean.leader.election.enable': 'true' } }), 'warning', /lacks acknowledged/);
  assert.equal(judge({ replication: 1, config: { 'min.insync.replicas': '1' } }).length, 1);
});

test('what lets changes go early is shown for a table, and means nothing for the state', () => {
  only(judge({ config: { 'retention.ms': '7200000' } }), 'warning', /for 2 h/);
  only(judge({ config: { 'retention.bytes': '1000000' } }), 'warning', /1000000 bytes/);
  assert.deepEqual(judge({ config: { 'retention.ms': '-1' } }), []);
  assert.deepEqual(judge({ role: 'state', config: { 'retention.ms': '1', 'retention.bytes': '1' } }), []);
});

test('what meddles with the records is shown', () => {
  only(judge({ config: { 'message.timestamp.before.max.ms': '1000' } }), 'warning', /older than 1000 ms/);
  only(judge({ config: { 'message.timestamp.type': 'LogAppendTime' } }), 'warning', /commit time/);
  only(judge({ config: { 'compression.type': 'gzip' } }), 'warning', /gzip/);
});

test('errors come before warnings', () => {
  const levels = judge({
    replication: 1,
    config: { 'cleanup.policy': 'compact', 'compression.type': 'lz4' },
  });
  assert.deepEqual(
    levels.map((line) => line.split(':')[0]),
    ['error', 'warning', 'warning'],
  );
});
