// Where every npm script starts, on whatever Node the machine has (so plain JavaScript): installs the
// packages when they are missing or older than the lockfile, then runs the task on the project's own Node 24.
// Knows no task.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const NEEDED_MAJOR = 24;

const fail = (sentence) => {
  console.error(sentence);
  process.exit(1);
};

const isInstalled = () => {
  const mark = join(root, 'node_modules/.package-lock.json');
  return existsSync(mark) && statSync(mark).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs;
};

const install = () => {
  console.error('Installing the packages of package-lock.json ...');
  const args = ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--include=dev', '--include=optional'];
  // Standard output belongs to the task: `npm run bench -- --json` prints nothing else.
  const stdio = ['ignore', 2, 2];
  // npm sets npm_execpath for its own scripts; without it this was started by hand.
  const npm = process.env.npm_execpath;
  const done = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio })
    : spawnSync('npm', args, { cwd: root, stdio });
  if (done.error) fail(`npm could not be started (${done.error.message}): install npm, then run this again.`);
  if (done.status !== 0)
    fail('The packages could not be installed: npm says why above. Is a registry reachable?');
};

const projectNode = () => {
  const own = join(root, 'node_modules/.bin/node');
  const candidates = [own, process.execPath].filter((path) => existsSync(path));
  for (const path of candidates) {
    const version = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout ?? '';
    if (Number(/^v(\d+)\./.exec(version)?.[1] ?? 0) >= NEEDED_MAJOR) return path;
  }
  return fail(
    `Varve needs Node ${NEEDED_MAJOR} or newer; this is ${process.version} (${process.execPath}). ` +
      `On Linux "npm ci" brings its own; elsewhere put Node ${NEEDED_MAJOR} first on the PATH.`,
  );
};

if (!isInstalled()) install();
const child = spawn(projectNode(), [join(root, 'scripts/tasks.ts'), ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
child.on('error', (error) => fail(`The task could not be started: ${error.message}`));
// Ctrl-C reaches the child by itself (same process group); a SIGTERM comes to this process alone.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
