// Owns starting a process of its own that uses an embedded topic, and killing it.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CHILD = fileURLToPath(new URL('./topic-child.ts', import.meta.url));

type TopicProcess = {
  readonly pid: number;
  /** Its next line; undefined when it has said all. */
  line(): Promise<string | undefined>;
  /** All lines that are still to come, once it has ended. */
  rest(): Promise<string[]>;
  kill(): void;
};

/** `args` as `topic-child.ts` takes them; `fileLimit`: the largest file it may write, in 512 bytes. */
export const startTopicProcess = (args: readonly string[], fileLimit = 'unlimited'): TopicProcess => {
  const command = ['-c', `ulimit -f ${fileLimit}; exec "$0" "$@"`, process.execPath, CHILD, ...args];
  const child = spawn('/bin/sh', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string | undefined> => (await lines.next()).value;
  return {
    pid: child.pid as number,
    line,
    rest: async () => {
      const found = [];
      for (let said = await line(); said !== undefined; said = await line()) found.push(said);
      return found;
    },
    kill: () => void child.kill('SIGKILL'),
  };
};
