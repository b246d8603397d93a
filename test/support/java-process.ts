// One Java server of a test: how it is spawned, ended, frozen, and ended when the test process dies. Knows
// not what it serves.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

type JavaProgram = {
  /** What messages call it. */
  readonly name: string;
  /** Path of `java`. */
  readonly java: string;
  /** All that follows it. */
  readonly args: readonly string[];
  /** The text in its log that says that it is ready. */
  readonly started: string;
  /** The folder that it runs in, if not its own. */
  readonly cwd?: string;
};

const START_DEADLINE_MS = 90_000;
const STOP_DEADLINE_MS = 60_000;
const TAIL_BYTES = 8_000;

/**
 * A server whose log is in `folder`; it outlives no test process, if the folder's parent has a watchdog (see
 * `startWatchdog`).
 */
export class JavaProcess {
  readonly #program: JavaProgram;
  readonly #folder: string;
  #child: ChildProcess | null = null;

  constructor(folder: string, program: JavaProgram) {
    this.#program = program;
    this.#folder = folder;
  }

  /** Absent while it is down. */
  get pid(): number | undefined {
    return this.#isRunning() ? this.#child?.pid : undefined;
  }

  /** Starts it, unless it runs, and waits until it says that it is ready. */
  async start(): Promise<void> {
    if (this.#isRunning()) return;
    const { name, started } = this.#program;
    await mkdir(this.#folder, { recursive: true });
    const from = await sizeOf(this.#logPath);
    const child = this.#spawn();
    const deadline = Date.now() + START_DEADLINE_MS;
    while (!(await this.#readLog(from)).includes(started)) {
      if (!this.#isRunning()) throw new Error(`${name} ended while starting.\n${await this.logTail()}`);
      if (Date.now() > deadline) {
        child.kill('SIGKILL');
        throw new Error(`${name} did not start within ${START_DEADLINE_MS} ms.\n${await this.logTail()}`);
      }
      await sleep(20);
    }
  }

  /** Ends it and waits for the end: SIGTERM is a clean stop, SIGKILL a crash. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === null || !this.#isRunning()) return;
    child.ref();
    const ended = once(child, 'exit');
    child.kill(signal);
    child.kill('SIGCONT');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    const [, killedBy] = await ended;
    clearTimeout(timer);
    if (signal === 'SIGTERM' && killedBy === 'SIGKILL') {
      const sentence = `${this.#program.name} did not end within ${STOP_DEADLINE_MS} ms of SIGTERM.`;
      throw new Error(`${sentence}\n${await this.logTail()}`);
    }
  }

  /** Frozen, its connections stay open and say nothing; thawed, it goes on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal);
  }

  /** The last lines of its log. */
  async logTail(): Promise<string> {
    return this.#readLog(Math.max(0, (await sizeOf(this.#logPath)) - TAIL_BYTES));
  }

  get #logPath(): string {
    return join(this.#folder, 'log');
  }

  #isRunning(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  #spawn(): ChildProcess {
    const { java, args, cwd } = this.#program;
    const log = openSync(this.#logPath, 'a');
    const child = spawn(java, args, {
      cwd: cwd ?? this.#folder,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    const pidPath = join(this.#folder, 'pid');
    if (child.pid !== undefined) writeFileSync(pidPath, String(child.pid));
    // A spawn that fails leaves `pid` undefined; `start` looks at that.
    child.on('error', () => undefined);
    // The number may be another process's from here on.
    child.on('exit', () => rmSync(pidPath, { force: true }));
    child.unref();
    this.#child = child;
    return child;
  }

  async #readLog(from: number): Promise<string> {
    const bytes = await readFile(this.#logPath).catch(() => Buffer.alloc(0));
    return bytes.subarray(from).toString();
  }
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

// Its standard input is a pipe from this process, so it ends when this process ends, by SIGKILL as well. A
// process group of its own keeps it alive through Ctrl-C. SIGKILL ends a frozen server too.
const watchdogScript = `cat >/dev/null
for file in "$0"/*/pid; do [ -f "$file" ] && kill -KILL "$(cat "$file")"; done
rm -rf "$0"`;

/**
 * Ends every server whose folder is in `root`, and removes that, when this process is gone or says so; it may
 * say so twice.
 */
export const startWatchdog = (root: string): { end(): Promise<void> } => {
  const child = spawn('sh', ['-c', watchdogScript, root], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const ended = once(child, 'exit');
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return {
    end: async () => {
      child.ref();
      child.stdin?.end();
      await ended;
    },
  };
};
