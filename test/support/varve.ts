// Owns running Varve as its users do: a directory with a pipeline file, the launcher as a child process, kill
// -9.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { atLevel } from './level.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const RUN_LIMIT_MS = atLevel({ test: 120_000, all: 600_000, deep: 7_200_000 });

export type Finished = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string };

export type Running = {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when standard error or output has matched. Fails when the process ended before. */
  saw(pattern: RegExp): Promise<void>;
};

/** Asks a run to end, and sees it end well. */
export const endOf = async (running: Running): Promise<void> => {
  running.kill('SIGTERM');
  const { code, signal, stderr } = await running.finished;
  if (code !== 0) throw new Error(`it ended with ${code ?? signal}: ${stderr}`);
};

export type TestPipeline = {
  readonly directory: string;
  readonly file: string;
  /** `under` is a command that runs the command it is given, as `env` and `nice` do. */
  start(
    words: readonly string[],
    environment?: Readonly<Record<string, string>>,
    under?: readonly string[],
  ): Running;
  /** Runs to the end; throws with what was printed unless the exit code is `code`. */
  run(words: readonly string[], code?: number): Promise<Finished>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type PipelineOptions = {
  url: string;
  name?: string;
  extra?: string;
  tables?: string;
  /** Of the tables; a directory beside the file if absent. */
  location?: string;
  commitMs?: number;
  /** `topic.format`, as YAML of one line. */
  format?: string;
  /** The rest of `topic:`, as YAML; a directory beside the file if absent. */
  topic?: string;
};

const pipelineText = ({
  url,
  name = 'ledger',
  extra = '',
  tables = '["public.*"]',
  location = './tables',
  commitMs = 200,
  format = '{}',
  topic = 'path: ./topic',
}: PipelineOptions): string =>
  `name: ${name}
source:
  kind: postgres
  url: ${url}
  tables: ${tables}
topic:
  ${topic.replaceAll('\n', '\n  ')}
  format: ${format}
table:
  location: ${location}
  commit_interval_ms: ${commitMs}
${extra}`;

const begin = (
  directory: string,
  words: readonly string[],
  environment: Readonly<Record<string, string>>,
): Running => {
  const [command = '', ...rest] = words;
  const child = spawn(command, rest, {
    cwd: directory,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  const hear = (add: (text: string) => void) => (chunk: Buffer) => {
    add(chunk.toString());
    for (const watch of watchers) watch();
  };
  child.stdout.on(
    'data',
    hear((text) => (stdout += text)),
  );
  child.stderr.on(
    'data',
    hear((text) => (stderr += text)),
  );
  const finished = new Promise<Finished>((done) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_LIMIT_MS);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      done({ code, signal, stdout, stderr });
    });
  });
  return {
    child,
    finished,
    kill: (signal) => void child.kill(signal),
    saw: (pattern) =>
      new Promise((found, lost) => {
        const watch = (): void => {
          if (!pattern.test(stdout + stderr)) return;
          watchers.delete(watch);
          found();
        };
        watchers.add(watch);
        void finished.then((end) => lost(new Error(`it ended before ${pattern}: ${JSON.stringify(end)}`)));
        watch();
      }),
  };
};

export const makePipeline = async (options: PipelineOptions): Promise<TestPipeline> => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-flow-'));
  const file = join(directory, 'pipeline.yaml');
  await writeFile(file, pipelineText(options));
  const running = new Set<Running>();
  const start: TestPipeline['start'] = (words, environment = {}, under = []) => {
    const command = [...under, process.execPath, join(ROOT, 'src/main.ts'), ...words];
    const made = begin(directory, command, environment);
    running.add(made);
    void made.finished.then(() => running.delete(made));
    return made;
  };
  return {
    directory,
    file,
    start,
    async run(words, code = 0) {
      const end = await start(words).finished;
      if (end.code === code) return end;
      throw new Error(
        `varve ${words.join(' ')} ended with ${end.code ?? end.signal}, not ${code}\n` +
          `${end.stderr}\n${end.stdout}`,
      );
    },
    async [Symbol.asyncDispose]() {
      for (const { child, finished } of running) {
        child.kill('SIGKILL');
        await finished;
      }
      await rm(directory, { recursive: true, force: true });
    },
  };
};
