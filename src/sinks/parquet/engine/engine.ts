// Owns the engine's process as the table sees it: started with the first operation, ended when idle, one
// operation at a time. Knows no SQL. A crash is an error of the operation under way; the next one starts a
// new process.
import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { asVarveError, VarveError } from '../../../errors.ts';
import type {
  CompareRequest,
  CompareResult,
  EngineSettings,
  ExportRequest,
  ExportResult,
  FromEngine,
  MergeRequest,
  MergeResult,
  OperationName,
  Operations,
  QueryRequest,
  QueryResult,
  RewriteRequest,
  RewriteResult,
  ToEngine,
} from './protocol.ts';

export type EngineAnswers = {
  /** A path on this machine that holds the file, valid until the operation is over. */
  localCopy(uri: string): Promise<string>;
  /** Avro schema text by id. */
  schema(id: number): Promise<string>;
};

type EngineOptions = EngineSettings & {
  /** A process that had nothing to do for so long ends. */
  idleMs: number;
};

type Task = {
  id: number;
  answers: EngineAnswers;
  resolve: (result: Operations[OperationName]['result']) => void;
  reject: (error: VarveError) => void;
};

/** The child beside this file, under the name it has here: as source or as built. */
const CHILD = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './child.ts' : './child.js', import.meta.url),
);
const LAST_WORDS = 2000;

/** Whether this process goes on for as long as the child does. */
const hold = (child: ChildProcess, isHeld: boolean): void => {
  const call = isHeld ? 'ref' : 'unref';
  child[call]();
  child.channel?.[call]();
  (child.stderr as Socket | null)?.[call]();
};

export class Engine implements AsyncDisposable {
  readonly #options: EngineOptions;
  #child: ChildProcess | null = null;
  #task: Task | null = null;
  #queue: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  #lastWords = '';
  #ids = 0;
  #isClosed = false;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /**
   * Folds record batches into files. The caller adopts and commits them; before that nothing has happened.
   */
  merge(request: MergeRequest, answers: EngineAnswers): Promise<MergeResult> {
    return this.#run('merge', request, answers);
  }

  rewrite(request: RewriteRequest, answers: EngineAnswers): Promise<RewriteResult> {
    return this.#run('rewrite', request, answers);
  }

  query(request: QueryRequest, answers: EngineAnswers): Promise<QueryResult> {
    return this.#run('query', request, answers);
  }

  compare(request: CompareRequest, answers: EngineAnswers): Promise<CompareResult> {
    return this.#run('compare', request, answers);
  }

  export(request: ExportRequest, answers: EngineAnswers): Promise<ExportResult> {
    return this.#run('export', request, answers);
  }

  /** One step of an erasure. */
  erase<Name extends 'eraseKeys' | 'eraseScan' | 'eraseRows' | 'eraseState'>(
    operation: Name,
    request: Operations[Name]['request'],
    answers: EngineAnswers,
  ): Promise<Operations[Name]['result']> {
    return this.#run(operation, request, answers);
  }

  /**
   * Starts the process before there is something to ask: who will ask soon waits less. Until then it keeps
   * nobody's process alive, and ends with it.
   */
  start(): void {
    this.#child ??= this.#start();
    hold(this.#child, false);
  }

  /** Process id, for people; null while there is none. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Waits for what is under way, then ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#queue;
    await this.#stop();
  }

  #run<Name extends OperationName>(
    operation: Name,
    request: Operations[Name]['request'],
    answers: EngineAnswers,
  ): Promise<Operations[Name]['result']> {
    const done = this.#queue.then(() => this.#send(operation, request, answers));
    this.#queue = done.catch(() => undefined);
    return done as Promise<Operations[Name]['result']>;
  }

  async #send<Name extends OperationName>(
    operation: Name,
    request: Operations[Name]['request'],
    answers: EngineAnswers,
  ): Promise<Operations[OperationName]['result']> {
    if (this.#isClosed) throw new VarveError('internal', 'The table engine is closed.');
    clearTimeout(this.#idle);
    const child = this.#child ?? this.#start();
    hold(child, true);
    const id = this.#ids++;
    const { promise, resolve, reject } = Promise.withResolvers<Operations[OperationName]['result']>();
    this.#task = { id, answers, resolve, reject };
    this.#tell(child, { kind: 'run', id, operation, request });
    try {
      return await promise;
    } finally {
      this.#task = null;
      this.#idle = setTimeout(() => void this.#stop(), this.#options.idleMs).unref();
    }
  }

  #start(): ChildProcess {
    const { memoryLimit, threads, directory } = this.#options;
    const settings = JSON.stringify({ memoryLimit, threads, directory } satisfies EngineSettings);
    const child = fork(CHILD, [settings], {
      serialization: 'advanced',
      // A merge makes many short-lived objects: more room for them halves the time that collecting takes.
      execArgv: ['--max-semi-space-size=64'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#lastWords = '';
    child.stderr?.on('data', (bytes: Buffer) => {
      this.#lastWords = (this.#lastWords + bytes.toString()).slice(-LAST_WORDS);
    });
    child.on('message', (message: FromEngine) => this.#hear(child, message));
    child.on('error', (cause) => this.#lose(child, cause));
    child.on('exit', (code, signal) => this.#lose(child, `it ended with ${signal ?? `exit code ${code}`}`));
    this.#child = child;
    return child;
  }

  #tell(child: ChildProcess, message: ToEngine): void {
    child.send(message, (error) => {
      if (error !== null) this.#lose(child, error);
    });
  }

  #hear(child: ChildProcess, message: FromEngine): void {
    const task = this.#task;
    if (task === null) return;
    switch (message.kind) {
      case 'question':
        void this.#answer(child, message, task.answers);
        return;
      case 'done':
        if (message.id === task.id) task.resolve(message.result);
        return;
      case 'failed': {
        const { kind, message: sentence, facts } = message.error;
        if (message.id === task.id) task.reject(new VarveError(kind, sentence, { facts }));
      }
    }
  }

  async #answer(
    child: ChildProcess,
    { question, ask }: Extract<FromEngine, { kind: 'question' }>,
    answers: EngineAnswers,
  ): Promise<void> {
    try {
      const text = ask.kind === 'local' ? await answers.localCopy(ask.uri) : await answers.schema(ask.id);
      this.#tell(child, { kind: 'answer', question, text });
    } catch (thrown) {
      const { kind, message, facts } = asVarveError(thrown);
      this.#tell(child, { kind: 'refusal', question, error: { kind, message, facts } });
    }
  }

  #lose(child: ChildProcess, why: unknown): void {
    if (this.#child !== child) return;
    this.#child = null;
    child.kill();
    const cause = why instanceof Error ? why : new Error(`${why}\n${this.#lastWords}`.trim());
    this.#task?.reject(
      new VarveError(
        'engine_failed',
        `The table engine's process was lost (${cause.message.split('\n')[0]}). Nothing was committed; the ` +
          'work starts again from the last commit. If this repeats, give the engine more memory or smaller ' +
          'batches.',
        { facts: { memory: this.#options.memoryLimit }, cause },
      ),
    );
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#idle);
    const child = this.#child;
    if (child === null || this.#task !== null) return;
    this.#child = null;
    const { promise, resolve } = Promise.withResolvers<void>();
    child.once('exit', () => resolve());
    hold(child, true);
    // Who was asked nothing has nothing to end well, and may still be loading.
    if (this.#ids === 0) child.kill('SIGKILL');
    else child.disconnect();
    await promise;
  }
}
