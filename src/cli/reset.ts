// Owns `varve reset`: takes away what a pipeline made, and nothing else. The tables stay.
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { asVarveError, VarveError } from '../errors.ts';
import { listDirectory } from '../topic/embedded/directory.ts';
import { assemble } from './assemble.ts';
import { argument, type Command, openSource, readPipeline } from './command.ts';

/** A mistyped path must not cost somebody their files. */
const refuseStrangeFiles = async (path: string): Promise<void> => {
  if (!existsSync(path)) return;
  const [strange] = (await listDirectory(path)).other;
  if (strange === undefined) return;
  throw new VarveError(
    'state_foreign',
    `${path} holds ${strange}, which is no part of a topic, so it is not deleted. Correct topic.path, ` +
      'or move that away.',
    { facts: { path, found: strange } },
  );
};

export const reset: Command = {
  name: 'reset',
  usage: 'reset FILE [--yes]',
  summary: 'drops what the pipeline made in the source, and its topic; keeps the tables',
  details:
    'An abandoned pipeline makes the source keep its log until the disk is full: reset it, or run it.\n',
  options: { yes: { type: 'boolean' } },
  async run(context) {
    const config = await readPipeline(context, argument(context, 0));
    if (context.flags.yes !== true) {
      throw new VarveError(
        'usage',
        `This drops the position of ${config.name} in the source and deletes ${config.topic.path}. ` +
          'Tables stay. Say --yes if that is meant.',
      );
    }
    const { path } = config.topic;
    await refuseStrangeFiles(path);
    // Opening takes the lock, so that a running daemon is refused rather than pulled from under. Damaged
    // state is no reason to refuse: it may be why somebody resets.
    const assembled = await assemble(context, config, {}).catch((thrown: unknown) => {
      const error = asVarveError(thrown);
      if (error.kind === 'state_corrupt') return null;
      throw error;
    });
    const source = await openSource(context, config);
    try {
      await source.reset();
    } finally {
      await source.close();
      await assembled?.close();
    }
    await rm(path, { recursive: true, force: true });
    context.output.result(
      { name: config.name, state: 'reset' },
      `${config.name}: reset; its tables were kept: move them away before it starts again`,
    );
    return 0;
  },
};
