// What schemas are filed under, as the file says it: by topic, by record, or by both.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Publisher } from '../../src/topic/publisher.ts';
import type { SubjectStrategy } from '../../src/topic/subject.ts';
import { FIRST, outboxBench } from '../support/outbox-bench.ts';
import { plainTable, TYPE } from '../support/plain-table.ts';

const table = plainTable({ name: ['s', 't'], columns: { id: TYPE.int }, key: ['id'] });

const noting = (publisher: Publisher, subjects: string[]): Publisher => {
  const register = publisher.registerSchema.bind(publisher);
  publisher.registerSchema = (subject, schema) => {
    subjects.push(subject);
    return register(subject, schema);
  };
  return publisher;
};

const filed = async (more: { subjects?: SubjectStrategy }): Promise<string[]> => {
  const bench = outboxBench();
  const subjects: string[] = [];
  const publisher = noting(bench.topic.publisher(), subjects);
  const outbox = bench.open({ publisher, transactionTopic: true, ...more });
  await outbox.open(table, FIRST);
  return subjects;
};

const OWN = 'io.debezium.connector.common.TransactionMetadata';

test('absent, and by topic: part by part', async () => {
  const byTopic = ['test.transaction-key', 'test.transaction-value', 'test.s.t-key', 'test.s.t-value'];
  assert.deepEqual(await filed({}), byTopic);
  assert.deepEqual(await filed({ subjects: 'topic_name' }), byTopic);
});

test('by record: its full name, the same in every topic', async () => {
  const byRecord = [`${OWN}Key`, `${OWN}Value`, 'test.s.t.Key', 'test.s.t.Envelope'];
  assert.deepEqual(await filed({ subjects: 'record_name' }), byRecord);
});

test('by both', async () => {
  const byBoth = [
    `test.transaction-${OWN}Key`,
    `test.transaction-${OWN}Value`,
    'test.s.t-test.s.t.Key',
    'test.s.t-test.s.t.Envelope',
  ];
  assert.deepEqual(await filed({ subjects: 'topic_record_name' }), byBoth);
});
