// Owns what a command is and what all of them need. Knows no connector by name.
import type { ParseArgsOptionsConfig } from 'node:util';
import type { TableName, TableSchema } from '../change/schema.ts';
import type { Config } from '../config.ts';
import { loadConfig } from '../config-file.ts';
import { formatsOf, type TopicConfig } from '../config-topic.ts';
import type { Connector, Source } from '../connector.ts';
import { VarveError } from '../errors.ts';
import type { PipelineParts } from '../pipeline-parts.ts';
import { makeScrub } from '../secrets.ts';
import type { Telemetry } from '../telemetry.ts';
import type { Output } from './output.ts';
import type { TopicKind } from './topic-kind.ts';

export type ListenOptions = { parts: PipelineParts; telemetry: Telemetry; version: string };

export type Connectors = {
  readonly kinds: readonly string[];
  load(kind: string): Promise<Connector<unknown>>;
};

export type Context = {
  arguments: readonly string[];
  flags: Readonly<Record<string, string | boolean | undefined>>;
  output: Output;
  connectors: Connectors;
  /** Loads a kind of topic. */
  topics: (kind: TopicConfig['kind']) => Promise<TopicKind>;
  environment: NodeJS.ProcessEnv;
  usage: string;
  version: string;
  /** Starts the HTTP listener of a running pipeline. */
  listen: (address: string, options: ListenOptions) => Promise<{ close(): Promise<void> }>;
  /** Told of every secret before it is used, so that no error prints it. */
  onSecrets: (secrets: readonly string[]) => void;
};

export type Command = {
  name: string;
  usage: string;
  summary: string;
  details?: string;
  options?: ParseArgsOptionsConfig;
  /** The exit code. */
  run(context: Context): Promise<number>;
};

/** The positional argument at `at`, or the usage as an error. */
export const argument = (context: Context, at: number): string => {
  const value = context.arguments[at];
  if (value !== undefined) return value;
  throw new VarveError('usage', `Something is missing. Usage: varve ${context.usage}`);
};

export const readPipeline = async (context: Context, file: string): Promise<Config> => {
  const { connectors } = context;
  const config = await loadConfig(
    file,
    { kinds: connectors.kinds, load: async (kind) => (await connectors.load(kind)).options },
    context.environment,
  );
  context.onSecrets(config.secrets);
  return config;
};

export const HOUR_MS = 3_600_000;

export const kindOf = (config: Config): string => (config.source as { kind: string }).kind;

/** Opens the pipeline's source; warnings of the connector go to standard error. */
export const openSource = async (
  context: Context,
  config: Config,
  knownSchema: (table: TableName) => TableSchema | null = () => null,
): Promise<Source> => {
  const scrub = makeScrub(config.secrets);
  const connector = await context.connectors.load(kindOf(config));
  return connector.open(config.source, {
    pipeline: config.name,
    log: (level, message) => context.output.note(scrub(`${level}: ${message}`)),
    now: nowUs,
    knownSchema,
    formats: formatsOf(config.topic.format),
    columns: config.columns,
  });
};

/** Goes with the machine's uptime: whoever sets the clock does not move it. */
export const steadyMs = (): number => performance.timeOrigin + performance.now();

export const nowUs = (): bigint => BigInt(Math.round(steadyMs() * 1000));
