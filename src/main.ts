// The roof: which rooms there are. The only file that names a connector, and the only one that loads by name:
// what a command does not need is not loaded for it, because loading takes longer than most answers.
import type { Command, Connectors } from './cli/command.ts';
import { runCommand } from './cli/entry.ts';
import { VarveError } from './errors.ts';

const CONNECTORS: Connectors = {
  kinds: ['postgres'],
  async load(kind) {
    if (kind === 'postgres') return (await import('../connectors/postgres/connector.ts')).connector;
    throw new VarveError('config_invalid', `There is no connector ${kind}.`);
  },
};

/** People wait for the answer: these are loaded without the other commands. */
const QUESTIONS: ReadonlySet<string> = new Set(['asof', 'history', 'diff', 'why']);

const loadCommands = async (name: string): Promise<readonly Command[]> => {
  if (!QUESTIONS.has(name)) return (await import('./cli/commands.ts')).COMMANDS;
  (await import('./sinks/parquet/query-start.ts')).startEarly();
  return (await import('./cli/questions.ts')).QUESTIONS;
};

await runCommand({
  commands: loadCommands,
  connectors: CONNECTORS,
  topics: async (kind) =>
    kind === 'kafka'
      ? (await import('./cli/topic-kafka.ts')).kafkaTopic
      : (await import('./cli/topic-embedded.ts')).embeddedTopic,
  listen: async (address, options) => (await import('./server/http.ts')).listen(address, options),
  prepare: async () =>
    (await import('./sinks/parquet/open-store.ts')).provideS3(() => import('./sinks/parquet/store-s3.ts')),
});
