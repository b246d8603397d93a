// Owns being the only one at work on a pipeline while rows are erased, and the way to its topic. A daemon
// that runs is refused: it may be writing files with the very rows.

import type { Config } from '../config.ts';
import { VarveError } from '../errors.ts';
import type { Graveyard } from '../topic/dead-letters.ts';
import { type Context, openSource } from './command.ts';

export type EraseWriter = Pick<Graveyard, 'write' | 'close'>;

/** Throws `usage` while a daemon of the pipeline runs, as far as that can be seen. */
export const openEraseWriter = async (context: Context, config: Config): Promise<EraseWriter> => {
  const topics = await context.topics(config.topic.kind);
  if (topics.openGraveyard === null) {
    // Its lock is the pipeline's.
    const publisher = await topics
      .openPublisher(config, () => undefined)
      .catch((thrown: unknown) => {
        if (!(thrown instanceof VarveError) || thrown.kind !== 'state_locked') throw thrown;
        const sentence =
          `${config.name} is running, and may be writing what is to be erased. ` +
          'Stop it, erase, and start it again.';
        throw new VarveError('usage', sentence, { facts: thrown.facts, cause: thrown });
      });
    await publisher.recover();
    return { write: (write) => publisher.write(write), close: () => publisher.close() };
  }
  // Only the source can tell that a daemon captures.
  const source = await openSource(context, config);
  try {
    await source.claim();
    const graveyard = await topics.openGraveyard(config);
    return {
      write: (write) => graveyard.write(write),
      close: async () => {
        await graveyard.close();
        await source.close();
      },
    };
  } catch (thrown) {
    await source.close();
    throw thrown;
  }
};
