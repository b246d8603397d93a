// The tasks of `npm run`: what each one runs, in which order, and when it fails. Runs on Node 24.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { build } from './build.ts';
import { runTests } from './run-tests.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a program to its end and gives its exit code; Ctrl-C and SIGTERM end the program, and then this. */
const run = (program: string, args: readonly string[]): Promise<number> => {
  const child = spawn(program, args, { cwd: root, stdio: 'inherit' });
  const pass = (): boolean => child.kill('SIGTERM');
  process.once('SIGTERM', pass);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => {
      process.off('SIGTERM', pass);
      resolve(code ?? 1);
    });
  });
};

const node = (...args: string[]): Promise<number> => run(process.execPath, args);
const tool = (name: string, ...args: string[]): Promise<number> =>
  run(`${root}node_modules/.bin/${name}`, args);

/** Types, lint and format, tidy rules: all of them, so that one run shows everything that is wrong. */
const check = async (): Promise<number> => {
  const codes = [
    await tool('tsc', '-p', '.'),
    await tool('biome', 'check', '--error-on-warnings'),
    await node('--test', 'test/tidy.test.ts'),
  ];
  return Math.max(...codes);
};

const tasks: Record<string, (args: string[]) => Promise<number>> = {
  check,
  test: (files) => runTests('test', files),
  'test:all': (files) => runTests('all', files),
  'test:deep': (files) => runTests('deep', files),
  demo: (args) => node('demo/demo.ts', ...args),
  // What is measured is what people install.
  bench: async (args) => (await build()) || node('bench/bench.ts', ...args),
  build,
};

const [name = '', ...args] = process.argv.slice(2);
const task = tasks[name];
if (!task) {
  console.error(`No task "${name}". There are: ${Object.keys(tasks).join(', ')}.`);
  process.exit(2);
}
// Ctrl-C reaches the program by itself; this process stays to pass on its exit code.
process.on('SIGINT', () => undefined);
process.exitCode = await task(args);
