// Owns running a pipeline file within the test's own process, put together as the command does it, so that a
// test may stand between its parts.
import type { LogReader } from '../../src/capture/log-reader.ts';
import type { LogEvent, RowChange } from '../../src/change/event.ts';
import { copyCells } from '../../src/change/row.ts';
import { assemble } from '../../src/cli/assemble.ts';
import { type Context, readPipeline } from '../../src/cli/command.ts';
import { makeOutput } from '../../src/cli/output.ts';
import { embeddedTopic } from '../../src/cli/topic-embedded.ts';
import type { Source } from '../../src/connector.ts';
import { runPipeline } from '../../src/pipeline.ts';
import type { PipelineParts } from '../../src/pipeline-parts.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';

export type Event = LogEvent<PreparedTable>;
type Reader = LogReader<PreparedTable>;

const contextOf = (file: string): Context => ({
  arguments: [file],
  flags: {},
  output: makeOutput({ stdout: process.stdout, stderr: process.stderr, json: true }),
  connectors: {
    kinds: ['postgres'],
    load: async () => (await import('../../connectors/postgres/connector.ts')).connector,
  },
  topics: async () => embeddedTopic,
  environment: process.env,
  usage: '',
  version: 'test',
  listen: () => Promise.reject(new Error('no listener here')),
  onSecrets: () => undefined,
});

/** Runs until caught up, with the parts that `plant` gives back. */
export const runInProcess = async (
  file: string,
  plant: (parts: PipelineParts) => Partial<PipelineParts> = () => ({}),
): Promise<void> => {
  const context = contextOf(file);
  const config = await readPipeline(context, file);
  const { parts, close } = await assemble(context, { ...config, log: { level: 'error' } }, {});
  try {
    await runPipeline({ ...parts, ...plant(parts) }, { untilCaughtUp: true }, new AbortController().signal);
  } finally {
    await close();
  }
};

/** `target` with some of its methods in other hands. */
export const overriding = <Part extends object>(target: Part, over: Partial<Part>): Part =>
  new Proxy(target, {
    get: (_, name) => {
      const value: unknown = Reflect.get(over, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

/** A source whose log is read by `wrap`'s reader. */
export const withLog =
  ({ source }: PipelineParts, wrap: (reader: Reader) => Reader): (() => Promise<Source>) =>
  async () => {
    const opened = await source();
    return overriding(opened, { log: () => wrap(opened.log()) });
  };

const kept = (event: Event): Event =>
  event.kind === 'row'
    ? {
        ...event,
        before: event.before && copyCells(event.before),
        after: event.after && copyCells(event.after),
      }
    : event.kind === 'commit'
      ? { kind: 'commit', resume: event.resume }
      : { ...event };

/** A reader that gives everything up to the first pause of the source at once, as `rewrite` makes it. */
export const rewrittenLog = (reader: Reader, rewrite: (events: Event[]) => Event[]): Reader => ({
  confirm: (point) => reader.confirm(point),
  close: () => reader.close(),
  async *read(after, signal) {
    const held: Event[] = [];
    for await (const chunk of reader.read(after, signal)) {
      for (let event = chunk.next(); event !== null; event = chunk.next()) held.push(kept(event));
      if (held.at(-1)?.kind !== 'idle') continue;
      const events = rewrite(held.splice(0));
      yield { next: () => events.shift() ?? null, behind: false };
    }
  },
});

export const isRow = (event: Event): event is RowChange<PreparedTable> => event.kind === 'row';
