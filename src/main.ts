// The roof: arguments -> command -> exit code. The only file that names a connector; it loads one when a file
// asks.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Connectors, Context } from './cli/command.ts';
import { COMMANDS } from './cli/commands.ts';
import { makeOutput } from './cli/output.ts';
import { embeddedTopic } from './cli/topic-embedded.ts';
import { armCrashPoint } from './crash-point.ts';
import { asVarveError, VarveError } from './errors.ts';
import { makeScrub } from './secrets.ts';
import { listen } from './server/http.ts';

const CONNECTORS: Connectors = {
  kinds: ['postgres'],
  async load(kind) {
    if (kind === 'postgres') return (await import('../connectors/postgres/connector.ts')).connector;
    throw new VarveError('config_invalid', `There is no connector ${kind}.`);
  },
};

const version = (): string => {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
};

const help = (): string => {
  const width = Math.max(...COMMANDS.map(({ usage }) => usage.length));
  const lines = COMMANDS.map(({ usage, summary }) => `  varve ${usage.padEnd(width)}  ${summary}`);
  return ['Varve keeps every committed change of a database, and loses none.', '', ...lines, ''].join('\n');
};

/** 0 done, 1 failed, 2 bad configuration or usage, 3 source not ready. */
const exitCode = (error: VarveError): number => {
  if (error.outcome === 'usage') return 2;
  return error.kind === 'source_not_ready' ? 3 : 1;
};

const dispatch = async (argv: readonly string[], secrets: string[]): Promise<number> => {
  const [name, ...rest] = argv;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(help());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version') {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  const command = COMMANDS.find((known) => known.name === name);
  if (command === undefined) throw new VarveError('usage', `varve has no command ${name}.\n\n${help()}`);
  const options = {
    ...command.options,
    json: { type: 'boolean' as const },
    help: { type: 'boolean' as const },
  };
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: rest, options, allowPositionals: true, strict: true });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new VarveError('usage', `${why}\nUsage: varve ${command.usage}`, { cause });
  }
  if (parsed.values.help === true) {
    process.stdout.write(`varve ${command.usage}\n\n${command.summary}\n${command.details ?? ''}`);
    return 0;
  }
  const context: Context = {
    arguments: parsed.positionals,
    flags: parsed.values as Context['flags'],
    output: makeOutput({ stdout: process.stdout, stderr: process.stderr, json: parsed.values.json === true }),
    connectors: CONNECTORS,
    topics: async (kind) =>
      kind === 'kafka' ? (await import('./cli/topic-kafka.ts')).kafkaTopic : embeddedTopic,
    environment: process.env,
    usage: command.usage,
    version: version(),
    listen,
    onSecrets: (found) => secrets.push(...found),
  };
  return command.run(context);
};

const main = async (): Promise<void> => {
  const secrets: string[] = [];
  if (process.env.VARVE_CRASH_AT) armCrashPoint(process.env.VARVE_CRASH_AT);
  try {
    process.exitCode = await dispatch(process.argv.slice(2), secrets);
  } catch (thrown) {
    const error = asVarveError(thrown);
    const scrub = makeScrub(secrets);
    const sentence = scrub(error.message);
    if (process.argv.includes('--json'))
      process.stdout.write(`${JSON.stringify({ error: error.kind, sentence })}\n`);
    else process.stderr.write(`varve: ${sentence}\n`);
    if (error.kind === 'internal' && process.env.VARVE_DEBUG)
      process.stderr.write(`${scrub(String(error.stack))}\n`);
    process.exitCode = exitCode(error);
  }
};

await main();
