// Owns running a command that asks within the test's own process: a process of its own takes longer to start
// than the answer. Knows no question.
import { PassThrough } from 'node:stream';
import { COMMANDS } from '../../src/cli/commands.ts';
import { makeOutput } from '../../src/cli/output.ts';
import { embeddedTopic } from '../../src/cli/topic-embedded.ts';
import { readWords } from '../../src/cli/words.ts';

export type Answered = { code: number; stdout: string; stderr: string };

/** Words as after `varve`, with whole paths. Rejects as the command does. */
export const askInProcess = async (words: readonly string[]): Promise<Answered> => {
  const read = readWords(words, COMMANDS, 'test');
  if ('text' in read) throw new Error(`this is no question: ${words.join(' ')}`);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const streams = { stdout, stderr } as unknown as { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream };
  const code = await read.command.run({
    ...read.said,
    output: makeOutput({ ...streams, json: read.said.flags.json === true }),
    connectors: {
      kinds: ['postgres'],
      load: async () => (await import('../../connectors/postgres/connector.ts')).connector,
    },
    topics: async () => embeddedTopic,
    environment: process.env,
    version: 'test',
    listen: () => Promise.reject(new Error('nothing listens here')),
    onSecrets: () => undefined,
  });
  const text = (stream: PassThrough): string => String(stream.read() ?? '');
  return { code, stdout: text(stdout), stderr: text(stderr) };
};
