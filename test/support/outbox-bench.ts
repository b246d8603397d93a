// Owns an outbox over a topic in memory, and reading back what it published, partition by partition.
import { Change } from '../../src/topic/envelope-change.ts';
import { Outbox } from '../../src/topic/outbox.ts';
import type { OutboxOptions } from '../../src/topic/outbox-options.ts';
import type { EnsuredTopic } from '../../src/topic/publisher.ts';
import { sealRecords } from '../../src/topic/record-batch.ts';
import { type DecodedRecord, decodeBatch } from './golden.ts';
import { MemoryTopic } from './memory-topic.ts';
import { EMPTY_BLOCK } from './scripted-log.ts';

export const NOW_US = 1_795_264_600_123_456n;

type OutboxBench = {
  topic: MemoryTopic;
  /** Another one over the same topic, as after a start. */
  open(more?: Partial<OutboxOptions>): Outbox;
  /** What each partition holds, in order. */
  read(topic: string): DecodedRecord[][];
  /** Sizes of the batches of each partition, uncompressed. */
  sizes(topic: string): number[][];
};

export const outboxBench = (limits?: Omit<EnsuredTopic, 'partitions'>): OutboxBench => {
  const topic = new MemoryTopic(limits);
  const batchesOf = (name: string): Uint8Array[][] =>
    topic.topic(name).partitions.map(({ batches }) => batches.map(({ batch }) => batch));
  return {
    topic,
    open: (more = {}) =>
      new Outbox({
        publisher: topic.publisher(),
        prefix: 'test',
        block: EMPTY_BLOCK,
        nowUs: () => NOW_US,
        maxInFlightBytes: 1 << 20,
        pack: (taken) => sealRecords(taken, null),
        ...more,
      }),
    read: (name) =>
      batchesOf(name).map((batches) =>
        batches.flatMap((batch) =>
          decodeBatch(name, batch, (id) => topic.schemas[id - 1] ?? `no schema ${id}`),
        ),
      ),
    sizes: (name) => batchesOf(name).map((batches) => batches.map(({ length }) => length)),
  };
};

/** The order header of an ordinal in the transaction at position 5 of epoch 1. */
export const orderOf = (ordinal: number): string => {
  const change = new Change();
  change.begin({ epoch: 1, position: 5n, phase: 1 }, { commitTs: 0n, nowUs: 0n, snapshot: 'false' });
  return change.setTruncate(ordinal).order;
};
