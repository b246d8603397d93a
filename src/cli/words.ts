// Owns what the words after `varve` mean: a command with its arguments and flags, or a text to print. Runs
// nothing.
import { parseArgs } from 'node:util';
import { VarveError } from '../errors.ts';
import type { Command, Context } from './command.ts';
import { makeOutput } from './output.ts';

type Said =
  | { text: string; code: number }
  | { command: Command; said: Pick<Context, 'arguments' | 'flags' | 'output' | 'usage'> };

const help = (commands: readonly Command[]): string => {
  const width = Math.max(...commands.map(({ usage }) => usage.length));
  const lines = commands.map(({ usage, summary }) => `  varve ${usage.padEnd(width)}  ${summary}`);
  return ['Varve keeps every committed change of a database, and loses none.', '', ...lines, ''].join('\n');
};

/** `commands`: all that it may be. Throws `usage`. */
export const readWords = (argv: readonly string[], commands: readonly Command[], version: string): Said => {
  const [name, ...rest] = argv;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h')
    return { text: help(commands), code: name === undefined ? 2 : 0 };
  if (name === '--version') return { text: `${version}\n`, code: 0 };
  const command = commands.find((known) => known.name === name);
  if (command === undefined)
    throw new VarveError('usage', `varve has no command ${name}.\n\n${help(commands)}`);
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
  const { positionals, values } = parsed;
  if (values.help === true)
    return { text: `varve ${command.usage}\n\n${command.summary}\n${command.details ?? ''}`, code: 0 };
  const { stdout, stderr } = process;
  const output = makeOutput({ stdout, stderr, json: values.json === true });
  const flags = values as Context['flags'];
  return { command, said: { arguments: positionals, flags, output, usage: command.usage } };
};
