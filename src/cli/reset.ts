// Owns `varve reset`: takes away what a pipeline made, and nothing else. The tables stay.
import { asVarveError, VarveError } from '../errors.ts';
import { assemble } from './assemble.ts';
import { argument, type Command, openSource, readPipeline } from './command.ts';

export const reset: Command = {
  name: 'reset',
  usage: 'reset FILE [--yes]',
  summary: 'drops what the pipeline made in the source, and its topic; keeps the tables',
  details:
    'An abandoned pipeline makes the source keep its log until the disk is full: reset it, or run it.\n',
  options: { yes: { type: 'boolean' } },
  async run(context) {
    const config = await readPipeline(context, argument(context, 0));
    const removal = await (await context.topics(config.topic.kind)).planReset(config);
    if (context.flags.yes !== true) {
      throw new VarveError(
        'usage',
        `This drops the position of ${config.name} in the source and deletes ${removal.what}. ` +
          'Tables stay. Say --yes if that is meant.',
      );
    }
    // Opening takes the lock, so that a running daemon is refused rather than pulled from under. Damaged
    // state is no reason to refuse: it may be why somebody resets.
    const assembled = await assemble(context, config, {}).catch((thrown: unknown) => {
      const error = asVarveError(thrown);
      if (error.kind === 'state_corrupt') return null;
      throw error;
    });
    const source = await openSource(context, config);
    try {
      // The embedded topic was locked; elsewhere only the source can tell that a daemon runs.
      if (config.topic.kind !== 'embedded') await source.claim();
      await source.reset();
    } finally {
      await source.close();
      await assembled?.close();
    }
    await removal.run();
    context.output.result(
      { name: config.name, state: 'reset' },
      `${config.name}: reset; its tables were kept: move them away before it starts again`,
    );
    return 0;
  },
};
