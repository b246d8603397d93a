// Owns `varve snapshot`: tables are read again while the pipeline is stopped.
import { LOST_HISTORY } from '../begin.ts';
import { type TableName, tableText } from '../change/schema.ts';
import type { Config } from '../config.ts';
import { asVarveError, VarveError } from '../errors.ts';
import { runPipeline } from '../pipeline.ts';
import { STATE_KEYS } from '../topic/state.ts';
import { assemble } from './assemble.ts';
import { argument, type Command, type Context, openSource, readPipeline } from './command.ts';
import { recordStatus, STOPPED } from './status-record.ts';

const chosenTables = async (context: Context, config: Config): Promise<TableName[]> => {
  const source = await openSource(context, config);
  try {
    const all = (await source.tables()).map((table) => table.name);
    if (context.flags.all === true) return all;
    return context.arguments.slice(1).map((text) => {
      const found = all.find((table) => tableText(table) === text);
      if (found) return found;
      throw new VarveError(
        'usage',
        `${text} is not among this pipeline's tables: ${all.map(tableText).join(', ')}.`,
      );
    });
  } finally {
    await source.close();
  }
};

export const snapshot: Command = {
  name: 'snapshot',
  usage: 'snapshot FILE (TABLE.. | --all)',
  summary: 'reads tables again while the pipeline is stopped',
  options: { all: { type: 'boolean' } },
  async run(context) {
    const { output } = context;
    const config = await readPipeline(context, argument(context, 0));
    if (context.flags.all !== true && context.arguments.length === 1)
      throw new VarveError('usage', `Name tables, or --all. Usage: varve ${context.usage}`);
    const tables = await chosenTables(context, config);
    const assembled = await assemble(context, config, { onStep: (message) => output.note(message) });
    const stop = new AbortController();
    process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort());
    const parts = { ...assembled.parts, sink: null };
    const again = async (): Promise<void> => {
      await runPipeline(parts, { untilCaughtUp: true, tables, beginOnly: true }, stop.signal);
    };
    try {
      await again().catch(async (thrown: unknown) => {
        const error = asVarveError(thrown);
        if (!LOST_HISTORY.has(error.kind) || context.flags.all !== true) throw error;
        output.note(`${error.message}\nreading everything again in a new epoch`);
        // A history that cannot be continued is left behind: a new epoch, all tables read, keys that are gone
        // swept. Without a checkpoint but with an intent, the next start drops the old log and begins anew.
        const state = [STATE_KEYS.checkpoint, STATE_KEYS.identity].map((key) => ({ key, value: null }));
        await parts.publisher.write({
          slices: [],
          state: [...state, { key: STATE_KEYS.intent, value: '{"v":1,"epoch":0,"tables":[]}' }],
        });
        await again();
      });
      await recordStatus(parts, STOPPED);
      const names = tables.map(tableText).join(', ');
      output.result(
        { name: config.name, state: 'snapshot_done', tables: tables.map(tableText) },
        `${config.name}: ${names} read again; varve run ${config.file} folds it into the table`,
      );
      return 0;
    } finally {
      await assembled.close();
    }
  },
};
