// Owns a capture loop over a scripted log and the real embedded topic, and reading back what it published.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Capture, type CaptureOptions } from '../../src/capture/capture.ts';
import { openEmbeddedPublisher } from '../../src/topic/embedded/publisher.ts';
import { Outbox } from '../../src/topic/outbox.ts';
import type { OutboxOptions } from '../../src/topic/outbox-options.ts';
import { sealRecords } from '../../src/topic/record-batch.ts';
import { type Checkpoint, readState, STATE_KEYS } from '../../src/topic/state.ts';
import { EMPTY_BLOCK, type ScriptedLog } from './scripted-log.ts';

const START: Checkpoint = { resume: '0', part: null, selection: 'all', commitTs: '0' };

type CaptureBench = {
  publisher: Awaited<ReturnType<typeof openEmbeddedPublisher>>;
  path: string;
  run(log: ScriptedLog, more?: Partial<CaptureOptions>, form?: Partial<OutboxOptions>): Promise<void>;
};

export const captureBench = async (t: TestContext): Promise<CaptureBench> => {
  const path = await mkdtemp(join(tmpdir(), 'varve-capture-'));
  const publisher = await openEmbeddedPublisher({ path, now: Date.now, randomId: randomUUID });
  t.after(async () => {
    await publisher.close();
    await rm(path, { recursive: true });
  });
  const run = async (
    log: ScriptedLog,
    more: Partial<CaptureOptions> = {},
    form: Partial<OutboxOptions> = {},
  ): Promise<void> => {
    const outbox = new Outbox({
      publisher,
      prefix: 'test',
      block: EMPTY_BLOCK,
      nowUs: () => 1n,
      maxInFlightBytes: 1 << 20,
      pack: (taken) => sealRecords(taken, null),
      ...form,
    });
    const from = readState<Checkpoint>(publisher.state(), STATE_KEYS.checkpoint) ?? START;
    await new Capture({
      reader: log,
      outbox,
      epoch: 1,
      from,
      selection: 'all',
      maxTransactionBytes: 1 << 20,
      topicOf: ([namespace, name]) => `test.${namespace}.${name}`,
      nowMs: Date.now,
      onDurable: () => undefined,
      ...more,
    }).run(new AbortController().signal);
  };
  return { publisher, path, run };
};
