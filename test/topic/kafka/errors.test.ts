// What each of Kafka's error codes leads to, and that an operator is told its name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { protocolErrors } from '@platformatic/kafka';
import { VarveError } from '../../../src/errors.ts';
import {
  type Action,
  actionOf,
  kafkaError,
  mayRepeat,
  unknownOutcome,
  unreachable,
} from '../../../src/topic/kafka/errors.ts';

const codes = new Map(Object.values(protocolErrors).map(({ id, code }) => [id, code]));
const codeOf = (name: string): number => {
  const code = codes.get(name);
  assert.ok(code !== undefined, name);
  return code;
};

const EXPECTED: Readonly<Record<Exclude<Action, 'stop'>, readonly string[]>> = {
  retry: [
    'REQUEST_TIMED_OUT',
    'COORDINATOR_LOAD_IN_PROGRESS',
    'NOT_ENOUGH_REPLICAS',
    'CONCURRENT_TRANSACTIONS',
  ],
  refresh: ['NOT_LEADER_OR_FOLLOWER', 'NOT_COORDINATOR', 'FENCED_LEADER_EPOCH', 'UNKNOWN_TOPIC_ID'],
  recover: [
    'OUT_OF_ORDER_SEQUENCE_NUMBER',
    'INVALID_PRODUCER_EPOCH',
    'INVALID_TXN_STATE',
    'TRANSACTION_ABORTABLE',
  ],
  fenced: ['PRODUCER_FENCED'],
};

test('what passes is tried again, what is lost is recovered, the rest stops', () => {
  for (const [action, names] of Object.entries(EXPECTED)) {
    for (const name of names) assert.equal(actionOf(codeOf(name)), action, name);
  }
  for (const name of [
    'TOPIC_AUTHORIZATION_FAILED',
    'MESSAGE_TOO_LARGE',
    'INVALID_CONFIG',
    'INVALID_REQUEST',
  ]) {
    assert.equal(actionOf(codeOf(name)), 'stop', name);
  }
});

test('an action and the outcome of the error never contradict each other', () => {
  for (const [name, code] of codes) {
    if (code === 0) continue;
    const error = kafkaError(code, 'do it');
    const isStop = actionOf(code) === 'stop' || actionOf(code) === 'fenced';
    assert.equal(error.outcome, isStop ? 'stop' : 'retry', name);
    assert.match(error.message, new RegExp(`^Kafka refused to do it \\(${name}\\)\\. \\S`), name);
    assert.deepEqual([error.facts.code, error.facts.error], [code, name]);
  }
});

test('a code that nobody knows stops', () => {
  assert.equal(actionOf(31_999), 'stop');
  assert.equal(kafkaError(31_999, 'do it').kind, 'protocol_error');
});

test('a refusal for want of rights, or for a setting, says which kind it is', () => {
  assert.equal(kafkaError(codeOf('CLUSTER_AUTHORIZATION_FAILED'), 'do it').kind, 'topic_denied');
  assert.equal(kafkaError(codeOf('INVALID_REPLICATION_FACTOR'), 'do it').kind, 'topic_unfit');
  assert.equal(kafkaError(codeOf('NOT_ENOUGH_REPLICAS'), 'do it').kind, 'topic_busy');
  assert.equal(kafkaError(codeOf('PRODUCER_FENCED'), 'do it').kind, 'fenced');
});

test('only a request that went out and was not answered has an unknown outcome', () => {
  assert.equal(unknownOutcome(unreachable('lost', true)), true);
  assert.equal(unknownOutcome(unreachable('lost', false)), false);
  assert.equal(unknownOutcome(kafkaError(7, 'do it')), false);
  assert.equal(unknownOutcome(new Error('lost')), false);
});

test('the same is asked again when the cluster is not ready, not when the transaction is lost', () => {
  assert.equal(mayRepeat(kafkaError(codeOf('NOT_LEADER_OR_FOLLOWER'), 'do it')), true);
  assert.equal(mayRepeat(unreachable('lost', true)), true);
  assert.equal(mayRepeat(kafkaError(codeOf('INVALID_PRODUCER_EPOCH'), 'do it')), false);
  assert.equal(mayRepeat(kafkaError(codeOf('TOPIC_AUTHORIZATION_FAILED'), 'do it')), false);
  assert.equal(mayRepeat(new VarveError('internal', 'bug')), false);
});
