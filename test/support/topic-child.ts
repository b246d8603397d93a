// A process of its own that uses an embedded topic until it is killed: `write <path>`, `tail <path> <count>`,
// `hold <path> <ms>`, `fill <path>`. Prints one line for each thing that is certain by then.
import { randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { VarveError } from '../../src/errors.ts';
import { openEmbeddedFeed } from '../../src/topic/embedded/feed.ts';
import { openEmbeddedPublisher } from '../../src/topic/embedded/publisher.ts';
import { CRASH_RETENTION, crashWrite } from './topic-crash.ts';
import { recordsOf, sliceOf } from './topic-records.ts';

const [mode, path = '', count = '0'] = process.argv.slice(2);
const say = (line: string): void => {
  writeSync(1, `${line}\n`);
};
const birth = { path, now: Date.now, randomId: randomUUID };

const write = async (): Promise<void> => {
  const publisher = await openEmbeddedPublisher({ ...birth, retention: CRASH_RETENTION, hold: () => false });
  for (const topic of ['a', 'b']) await publisher.ensureTopic(topic, { partitions: 1 });
  const inFlight: Promise<void>[] = [];
  for (let n = JSON.parse(publisher.state().get('checkpoint') ?? '{"n":-1}').n + 1; ; n++) {
    inFlight.push(publisher.write(crashWrite(n)).then(() => say(String(n))));
    if (inFlight.length > 3) await inFlight.shift();
  }
};

const tail = async (): Promise<void> => {
  const feed = await openEmbeddedFeed({ path });
  say('open');
  for (let from = 0n; from < BigInt(count); ) {
    await feed.changed(10_000, new AbortController().signal);
    const { batches, nextOffset } = await feed.read('a', 0, { from, maxBytes: 1 << 20 });
    for (const { value } of recordsOf(batches, from)) say(value);
    from = nextOffset;
  }
  await feed.close();
};

const hold = async (): Promise<void> => {
  const publisher = await openEmbeddedPublisher(birth);
  say(`in ${process.hrtime.bigint()}`);
  await sleep(Number(count));
  say(`out ${process.hrtime.bigint()}`);
  await publisher.close();
};

/** Writes until the disk refuses, then proves that every later write is refused too. */
const fill = async (): Promise<void> => {
  const publisher = await openEmbeddedPublisher(birth);
  await publisher.ensureTopic('a', { partitions: 1 });
  for (let n = 0; ; n++) {
    const state = [{ key: 'checkpoint', value: `{"n":${n}}` }];
    await publisher.write({ slices: [sliceOf('a', [String(n).repeat(50_000)])], state });
    say(String(n));
  }
};

const modes: Record<string, () => Promise<void>> = { write, tail, hold, fill };
try {
  await modes[mode ?? '']?.();
} catch (error) {
  say(`failed ${error instanceof VarveError ? error.kind : error} ${(error as VarveError).facts?.pid ?? ''}`);
}
