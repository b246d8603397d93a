// Owns the first steps of whoever writes the topics: becoming their one writer, then freeing what waited.
// Refuses to know what it writes afterwards.
import type { Source } from './connector.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { freeParked } from './topic/parked.ts';
import { subjectsOf } from './topic-form.ts';

/**
 * Who takes a topic over stops whoever has it: never somebody who is at work. A topic that belongs to one
 * process is locked, and needs no such look.
 */
export const becomeWriter = async (
  { publisher, joinWorkers }: Pick<PipelineParts, 'publisher' | 'joinWorkers'>,
  source: Source,
): Promise<void> => {
  if (joinWorkers !== null) await source.claim();
  await publisher.recover();
};

/** Changes that wait for their schema go on first, where the registry takes it by now. */
export const goOnWithParked = async ({ publisher, feed, config, progress }: PipelineParts): Promise<void> => {
  const blocked = await freeParked({
    publisher,
    feed,
    prefix: config.topic.prefix,
    subjects: subjectsOf(config.topic),
  });
  for (const table of blocked) progress.noticed({ kind: 'blocked', ...table });
};
