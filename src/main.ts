// The roof: arguments -> command -> exit code. The only file that names a connector; it loads one when a file
// asks.
import { readFileSync } from 'node:fs';
import type { Connectors, Context } from './cli/command.ts';
import { embeddedTopic } from './cli/topic-embedded.ts';
import { readWords } from './cli/words.ts';
import { armCrashPoint } from './crash-point.ts';
import { asVarveError, VarveError } from './errors.ts';
import { makeScrub } from './secrets.ts';
import { listen } from './server/http.ts';
import { provideS3 } from './sinks/parquet/open-store.ts';

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

/** 0 done, 1 failed, 2 bad configuration or usage, 3 source not ready. */
const exitCode = (error: VarveError): number => {
  if (error.outcome === 'usage') return 2;
  return error.kind === 'source_not_ready' ? 3 : 1;
};

const dispatch = async (argv: readonly string[], secrets: string[]): Promise<number> => {
  const words = readWords(argv, version());
  if ('text' in words) {
    process.stdout.write(words.text);
    return words.code;
  }
  const context: Context = {
    ...words.said,
    connectors: CONNECTORS,
    topics: async (kind) =>
      kind === 'kafka' ? (await import('./cli/topic-kafka.ts')).kafkaTopic : embeddedTopic,
    environment: process.env,
    version: version(),
    listen,
    onSecrets: (found) => secrets.push(...found),
  };
  return words.command.run(context);
};

const main = async (): Promise<void> => {
  const secrets: string[] = [];
  provideS3(() => import('./sinks/parquet/store-s3.ts'));
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
