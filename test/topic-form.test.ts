// What a pipeline file says about the form of what is published reaches who publishes, table by table.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../src/config.ts';
import { topicSchema } from '../src/config-topic.ts';
import { formOf } from '../src/topic-form.ts';

const parse = (topic: object): Config => ({ topic: topicSchema.parse(topic) }) as unknown as Config;
const PARTS = { claims: null, onNotice: () => undefined };
const KAFKA = { kind: 'kafka', brokers: ['127.0.0.1:9092'], registry: { url: 'http://127.0.0.1:8081' } };

test('tables have their own numbers of partitions and their own policies', () => {
  const form = formOf(
    parse({
      ...KAFKA,
      tls: false,
      partitions: 4,
      partition_overrides: { 'public.big': 12 },
      oversized: 'key_only',
      oversized_overrides: { 'public.big': 'stop' },
      format: { tombstones: false, skip: ['t'], transaction_topic: true },
    }),
    PARTS,
  );
  const tables = [['public', 'small'] as const, ['public', 'big'] as const];
  assert.deepEqual(
    tables.map((table) => form.partitionsOf?.(table)),
    [4, 12],
  );
  assert.deepEqual(
    tables.map((table) => form.oversizedOf?.(table)),
    ['key_only', 'stop'],
  );
  assert.equal(form.subjects, 'topic_name');
  assert.deepEqual([form.tombstones, form.skip, form.transactionTopic], [false, ['t'], true]);
  assert.equal(form.claims, undefined);
});

test('the embedded topic has one partition and takes everything', () => {
  const byRecord = { ...KAFKA.registry, subject_strategy: 'record_name' };
  assert.equal(formOf(parse({ ...KAFKA, registry: byRecord }), PARTS).subjects, 'record_name');
  const form = formOf(parse({ kind: 'embedded' }), PARTS);
  assert.deepEqual([form.partitionsOf, form.oversizedOf, form.claims], [undefined, undefined, undefined]);
});
