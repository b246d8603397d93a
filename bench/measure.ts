// Owns measuring: what a program costs while it runs (its own processes' CPU and memory, read from /proc),
// repetitions in turn, medians, and the line that a bench prints. Knows no database and no bench.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';

/** One result. A ratio is value / floor; null: there is none, or it was not measured. */
export type Line = {
  name: string;
  value: number | typeof NOT_RUN;
  unit: string;
  floor: number | null;
  ratio: number | null;
  cpu_s_per_million: number | null;
  rss_mb: number | null;
  target?: string;
};

/** Said of a peer that could not be started, in place of a number. */
const NOT_RUN = 'not run';

export type Settings = {
  reps: number;
  /** How much to work on: `quick` by default, `full` with --full, both times --scale; in whole thousands. */
  rows: (quick: number, full: number) => number;
};

export type Cost = { seconds: number; cpuSeconds: number; peakMb: number };
type Finished = Cost & { stdout: string };
export type Started = {
  child: ChildProcess;
  /** Costs until now. */
  soFar: () => Cost;
  /** Resolves at the first byte it prints; `announce` prints one. */
  spoke: Promise<void>;
  /** Rejects when it ends with another exit code than 0. */
  finished: Promise<Finished>;
};

const SAMPLE_MS = 20;
/** The kernel counts in hundredths of a second, whatever its own tick. */
const TICKS_PER_SECOND = 100;
const QUIET_LOAD = 0.3;

const readProc = (path: string): string => {
  try {
    return readFileSync(`/proc/${path}`, 'latin1');
  } catch {
    return ''; // it has just ended
  }
};

/** A process, and what it started, and what those started. */
const familyOf = (root: number): number[] => {
  const pids = [root];
  for (const pid of pids) {
    const children = readProc(`${pid}/task/${pid}/children`).trim();
    if (children !== '') pids.push(...children.split(' ').map(Number));
  }
  return pids;
};

class Meter {
  readonly #root: number;
  readonly #cpuTicks = new Map<number, number>();
  #peakKb = 0;

  constructor(root: number) {
    this.#root = root;
  }

  get cpuSeconds(): number {
    return [...this.#cpuTicks.values()].reduce((sum, ticks) => sum + ticks, 0) / TICKS_PER_SECOND;
  }

  get peakMb(): number {
    return this.#peakKb / 1024;
  }

  sample(): void {
    let togetherKb = 0;
    for (const pid of familyOf(this.#root)) {
      const stat = readProc(`${pid}/stat`);
      // The name in parentheses may hold anything; utime and stime are the 12th and 13th word behind it.
      const words = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (words.length > 12) this.#cpuTicks.set(pid, Number(words[11]) + Number(words[12]));
      const status = readProc(`${pid}/status`);
      const kb = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
      togetherKb += kb('VmRSS');
      this.#peakKb = Math.max(this.#peakKb, kb('VmHWM'));
    }
    this.#peakKb = Math.max(this.#peakKb, togetherKb);
  }
}

/** CPU seconds that a running process and its children use from now on. */
export const measureProcess = (pid: number): (() => number) => {
  const meter = new Meter(pid);
  const cpuSeconds = (): number => {
    meter.sample();
    return meter.cpuSeconds;
  };
  const before = cpuSeconds();
  return () => cpuSeconds() - before;
};

type StartOptions = { env?: Readonly<Record<string, string>>; cwd?: string };

/** Starts a program and measures it, its children included, until it ends. */
export const startMeasured = (
  program: string,
  args: readonly string[],
  { env = {}, cwd = process.cwd() }: StartOptions = {},
): Started => {
  const startedMs = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const meter = new Meter(child.pid ?? 0);
  const timer = setInterval(() => meter.sample(), SAMPLE_MS);
  const soFar = (): Cost => {
    meter.sample();
    const seconds = (performance.now() - startedMs) / 1000;
    return { seconds, cpuSeconds: meter.cpuSeconds, peakMb: meter.peakMb };
  };
  let [stdout, stderr] = ['', ''];
  const spoke = new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  let seconds = 0;
  child.once('exit', () => {
    seconds = (performance.now() - startedMs) / 1000;
    clearInterval(timer);
  });
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const { cpuSeconds, peakMb } = meter;
      if (code === 0) resolve({ seconds, cpuSeconds, peakMb, stdout });
      else reject(new Error(`${program} ${args.join(' ')} ended with ${code ?? signal}\n${stderr}${stdout}`));
    });
  });
  return { child, soFar, spoke, finished };
};

export const runMeasured = (
  program: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<Finished> => startMeasured(program, args, options).finished;

/** A file of the built package: what people install is what is measured. */
export const builtUrl = (file: string): URL => new URL(`../dist/src/${file}`, import.meta.url);

/** Starts another program of this folder, on this Node; it finds the request in its environment. */
export const startScript = (script: string, request: object): Started =>
  startMeasured(process.execPath, [fileURLToPath(new URL(script, import.meta.url))], {
    env: { BENCH_REQUEST: JSON.stringify(request) },
  });

/** Runs it to the end; what it prints is JSON. */
export const runScript = async <Answer>(
  script: string,
  request: object,
): Promise<Cost & { answer: Answer }> => {
  const { stdout, ...cost } = await startScript(script, request).finished;
  return { ...cost, answer: JSON.parse(stdout) as Answer };
};

/** For the other side of `startScript`. */
export const readRequest = <Request>(): Request => JSON.parse(process.env.BENCH_REQUEST ?? '') as Request;
/** Tells `spoke` that it is ready; JSON may begin with a space. */
export const announce = (): void => void process.stdout.write(' ');
/** Resolves when the other side may have it all: who exits before that cuts a long answer off. */
export const answer = (value: unknown): Promise<void> =>
  new Promise((resolve) => {
    process.stdout.write(JSON.stringify(value), () => resolve());
  });

/** `value` in the bench's unit, `others` more of its kind; costs are the work's alone where known. */
export type Sample = { value: number; others?: readonly number[]; cpuSeconds: number; peakMb: number };
/** `isPeer`: none of ours, so the others' numbers are worth having without it. */
export type Contender = { name: string; run: () => Promise<Sample>; isPeer?: true };

export const medianOf = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[middle - 1] ?? 0, sorted[middle] ?? 0];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
};

/** Prints what a reader needs to judge the numbers that follow. */
export const noteLoad = (what: string): void => {
  const [load = 0] = loadavg();
  const verdict = load > QUIET_LOAD ? `, above ${QUIET_LOAD}: do not quote this one` : '';
  process.stderr.write(`${what}: load ${load.toFixed(2)}${verdict}\n`);
};

/**
 * Runs all contenders in turn, `reps` times, each time another one first; gives each one's medians. A peer
 * that fails is not run again, and has none.
 */
export const runInTurn = async (
  what: string,
  contenders: readonly Contender[],
  { reps }: Settings,
): Promise<ReadonlyMap<string, Sample>> => {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (let rep = 0; rep < reps; rep++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(turn + rep) % contenders.length];
      const earlier = samples.get(contender?.name ?? '');
      if (contender === undefined || earlier === undefined) continue;
      noteLoad(`${what} ${contender.name} ${rep + 1}/${reps}`);
      try {
        earlier.push(await contender.run());
      } catch (error) {
        if (!contender.isPeer) throw error;
        process.stderr.write(`${what} ${contender.name}: ${NOT_RUN}. ${String(error)}\n`);
        samples.delete(contender.name);
      }
    }
  }
  const middle = (all: readonly Sample[]): Sample => ({
    value: medianOf(all.map(({ value }) => value)),
    others: (all[0]?.others ?? []).map((_, at) => medianOf(all.map(({ others }) => others?.[at] ?? 0))),
    cpuSeconds: medianOf(all.map(({ cpuSeconds }) => cpuSeconds)),
    peakMb: medianOf(all.map(({ peakMb }) => peakMb)),
  });
  return new Map([...samples].map(([name, all]) => [name, middle(all)]));
};

type LineParts = {
  name: string;
  unit: string;
  /** Undefined: it could not be run. */
  sample: Sample | undefined;
  /** What `cpuSeconds` was spent on. */
  rows: number;
  floor?: number | undefined;
  target?: string;
};

const rounded = (value: number): number => Number(value.toPrecision(4));

export const makeLine = ({ name, unit, sample, rows, floor, target }: LineParts): Line => ({
  name,
  value: sample === undefined ? NOT_RUN : rounded(sample.value),
  unit,
  floor: floor === undefined ? null : rounded(floor),
  ratio: floor === undefined || sample === undefined ? null : rounded(sample.value / floor),
  cpu_s_per_million: sample === undefined ? null : rounded((sample.cpuSeconds / rows) * 1e6),
  rss_mb: sample === undefined ? null : rounded(sample.peakMb),
  ...(target === undefined ? {} : { target }),
});

/** How many times `other` one is; not run when one of them was not. */
export const makeRatioLine = (
  name: string,
  [one, other]: readonly [number | undefined, number | undefined],
  target: string,
): Line => ({
  name,
  value: one === undefined || other === undefined ? NOT_RUN : rounded(one / other),
  unit: 'x',
  floor: null,
  ratio: null,
  cpu_s_per_million: null,
  rss_mb: null,
  target,
});
