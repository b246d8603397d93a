// A record that cannot be folded is kept as it is: where it stood, why it is here, and its bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codecById } from '../../src/topic/compression.ts';
import { writeDeadLetters } from '../../src/topic/dead-letters.ts';
import { readRecords } from '../../src/topic/record-batch.ts';
import { MemoryTopic } from '../support/memory-topic.ts';

test('a dead letter says where it comes from and why, and has the bytes that it had', async () => {
  const topic = new MemoryTopic();
  const value = Uint8Array.of(1, 255, 0);
  const key = Uint8Array.of(0, 9);
  const burying = { graveyard: topic.publisher(), prefix: 'p', nowMs: () => 7 };
  const dead = [
    { partition: 3, offset: 41n, key, value, reason: 'no order' },
    { partition: 0, offset: 2n, key: null, value: null, reason: 'no key' },
  ];
  await writeDeadLetters(burying, 'p.public.t', dead);
  const found: unknown[] = [];
  const { batches } = await topic.feed().read('p.varve.dead', 0, { from: 0n, maxBytes: 1 << 20 });
  const visit = (record: Parameters<Parameters<typeof readRecords>[1]>[0]): void => {
    const { bytes, keyStart, keyEnd, valueStart, valueEnd } = record;
    const text = (name: string) => Buffer.from(record.header(name) ?? []).toString('latin1');
    const place = Buffer.from(bytes.subarray(keyStart, keyEnd)).toString();
    const body = valueStart < 0 ? null : [...bytes.subarray(valueStart, valueEnd)];
    found.push([place, body, text('varve.reason'), text('varve.key')]);
  };
  for (const batch of batches) readRecords(batch, visit, { codec: codecById });
  assert.deepEqual(found, [
    ['p.public.t/3/41', [...value], 'no order', '\0\t'],
    ['p.public.t/0/2', null, 'no key', ''],
  ]);
});
