// Owns one run of `varve`: arguments -> command -> exit code, and what is printed of an error. Loads no room
// itself: what a command needs comes from the roof.
import { readFileSync } from 'node:fs';
import { armCrashPoint } from '../crash-point.ts';
import { asVarveError, type VarveError } from '../errors.ts';
import { makeScrub } from '../secrets.ts';
import type { Command, Context } from './command.ts';
import { readWords } from './words.ts';

/** What is loaded only for those who need it. */
type Rooms = Pick<Context, 'connectors' | 'topics' | 'listen'> & {
  /** The commands among which this name is, if it is one. */
  commands(name: string): Promise<readonly Command[]>;
  /** Before a command runs. */
  prepare(): Promise<void>;
};

const version = (): string => {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
};

/** 0 done, 1 failed, 2 bad configuration or usage, 3 source not ready. */
const exitCode = (error: VarveError): number => {
  if (error.outcome === 'usage') return 2;
  return error.kind === 'source_not_ready' ? 3 : 1;
};

const dispatch = async (
  argv: readonly string[],
  { commands, prepare, ...rooms }: Rooms,
  secrets: string[],
): Promise<number> => {
  const words = readWords(argv, await commands(argv[0] ?? ''), version());
  if ('text' in words) {
    process.stdout.write(words.text);
    return words.code;
  }
  await prepare();
  return words.command.run({
    ...words.said,
    ...rooms,
    environment: process.env,
    version: version(),
    onSecrets: (found) => secrets.push(...found),
  });
};

/** Sets the process's exit code; never throws. */
export const runCommand = async (rooms: Rooms): Promise<void> => {
  const secrets: string[] = [];
  if (process.env.VARVE_CRASH_AT) armCrashPoint(process.env.VARVE_CRASH_AT);
  try {
    process.exitCode = await dispatch(process.argv.slice(2), rooms, secrets);
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
