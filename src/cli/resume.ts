// Owns `varve resume`: mends a stopped pipeline whose history has a hole, or whose topic has a transaction
// that nobody will end. Each repair says what it did.
import { acceptGap } from '../begin.ts';
import { beginOptions } from '../begin-options.ts';
import type { Config } from '../config.ts';
import type { Source } from '../connector.ts';
import { VarveError } from '../errors.ts';
import { refuseForeignOwner } from '../owner.ts';
import { type Checkpoint, readState, STATE_KEYS } from '../topic/state.ts';
import { becomeWriter } from '../topic-writer.ts';
import { assemble } from './assemble.ts';
import { argument, type Command, type Context, kindOf, openSource, readPipeline } from './command.ts';
import { resumeTable } from './pause.ts';
import { recordStatus, STOPPED } from './status-record.ts';

const acceptHole = async (context: Context, config: Config): Promise<void> => {
  const assembled = await assemble(context, config, {});
  const source = await assembled.parts.source();
  try {
    await becomeWriter(assembled.parts, source);
    const { from, to } = await acceptGap(beginOptions(assembled.parts, source, []));
    await recordStatus(assembled.parts, STOPPED);
    context.output.result(
      { name: config.name, state: 'gap_accepted', from, to },
      `${config.name}: changes between ${from} and ${to} are lost; ` +
        `varve run ${config.file} goes on from there`,
    );
  } finally {
    await source.close();
    await assembled.close();
  }
};

/** What hangs was confirmed to nobody, or it must not be taken back: the source has to have it still. */
const verifyUnconfirmed = async (context: Context, config: Config, source: Source): Promise<void> => {
  const feed = await (await context.topics(config.topic.kind)).openFeed(config);
  try {
    const state = await feed.state();
    refuseForeignOwner({ name: config.name, kind: kindOf(config), state });
    const checkpoint = readState<Checkpoint>(state, STATE_KEYS.checkpoint);
    if (checkpoint !== null) await source.verifyResume(checkpoint.resume);
  } finally {
    await feed.close();
  }
};

const abortHanging = async (context: Context, config: Config): Promise<void> => {
  const source = await openSource(context, config);
  try {
    await source.claim();
    await verifyUnconfirmed(context, config, source);
    const aborted = await (await context.topics(config.topic.kind)).abortHanging(config);
    context.output.result(
      { name: config.name, state: 'hanging_aborted', aborted },
      `${config.name}: a transaction that hung was taken back in ${aborted.join(', ')}; ` +
        `varve run ${config.file} publishes its changes again`,
    );
  } finally {
    await source.close();
  }
};

export const resume: Command = {
  name: 'resume',
  usage: 'resume FILE (TABLE | --accept-gap | --abort-hanging)',
  summary: 'goes on: with a paused table, where the history is lost, or where a transaction hangs',
  details:
    'TABLE: lets a table go on that varve pause stopped.\n' +
    '--accept-gap: goes on from now, and writes the hole down.\n' +
    '--abort-hanging: takes back what no reader has seen; its changes come again.\n',
  options: { 'accept-gap': { type: 'boolean' }, 'abort-hanging': { type: 'boolean' } },
  async run(context) {
    const { flags } = context;
    const [gap, hanging] = [flags['accept-gap'] === true, flags['abort-hanging'] === true];
    const isTable = context.arguments.length > 1;
    if (isTable && !gap && !hanging) {
      await resumeTable(context);
      return 0;
    }
    const config = await readPipeline(context, argument(context, 0));
    if (isTable || gap === hanging) throw new VarveError('usage', `Usage: varve ${context.usage}`);
    await (gap ? acceptHole(context, config) : abortHanging(context, config));
    return 0;
  },
};
