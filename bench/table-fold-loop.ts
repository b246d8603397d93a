// A program that folds an embedded topic into its table as `varve run` does, by the pipeline's own file and
// without a source: from the table's offsets to where the topic ends. Prints how long that took, and the
// upkeep that it left behind.
import { pathToFileURL } from 'node:url';
import type { Connectors, Context } from '../src/cli/command.ts';
import { TABLE, TOPIC } from './database.ts';
import { answer, builtUrl, readRequest } from './measure.ts';

export type FoldRequest = { file: string };
export type FoldTimes = { events: number; commits: number; seconds: number; upkeepSeconds: number };

const { file } = readRequest<FoldRequest>();

/** As people install it. */
const built = <Module>(name: string): Promise<Module> =>
  import(pathToFileURL(builtUrl(name).pathname).href) as Promise<Module>;

const { assemble } = await built<typeof import('../src/cli/assemble.ts')>('cli/assemble.js');
const { readPipeline } = await built<typeof import('../src/cli/command.ts')>('cli/command.js');
const { embeddedTopic } = await built<typeof import('../src/cli/topic-embedded.ts')>('cli/topic-embedded.js');
const { makeOutput } = await built<typeof import('../src/cli/output.ts')>('cli/output.js');
const { runFolds } = await built<typeof import('../src/fold-half.ts')>('fold-half.js');

const connectors: Connectors = {
  kinds: ['postgres'],
  load: async () =>
    (
      await import(
        new URL('../connectors/postgres/connector.js', builtUrl('main.js'))
          .href as '../connectors/postgres/connector.ts'
      )
    ).connector,
};
const { stdout, stderr } = process;
const context: Context = {
  arguments: [],
  flags: {},
  output: makeOutput({ stdout, stderr, json: true }),
  connectors,
  topics: async () => embeddedTopic,
  environment: process.env,
  usage: '',
  version: 'bench',
  listen: () => Promise.reject(new Error('The file asks for no listener.')),
  onSecrets: () => undefined,
};
const assembled = await assemble(context, await readPipeline(context, file), {});
const { parts } = assembled;
const { sink, progress } = parts;
if (sink === null) throw new Error(`${file} has no table.`);

const startedMs = performance.now();
const finish = AbortSignal.abort();
await runFolds({ parts, sink, finish, tries: 1, join: null }, new AbortController().signal);
const seconds = (performance.now() - startedMs) / 1000;
const { events, commits } = progress.tables.get(TOPIC) ?? { events: 0, commits: 0 };

const table = await sink.open(TOPIC, { namespace: 'public', name: TABLE });
while ((await table.maintain()) !== 'done');
await table.close();
const upkeepSeconds = (performance.now() - startedMs) / 1000 - seconds;
await assembled.close();
await answer({ events, commits, seconds, upkeepSeconds } satisfies FoldTimes);
process.exit(0);
