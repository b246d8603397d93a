// The package as a user gets it: built, packed, installed into an empty folder and run there; and the
// launcher, from a checkout and with a Node that is too old.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
type Ended = { code: number; stdout: string; stderr: string };

/** Runs a program to its end, with Node 24 first on the PATH unless another folder is named. */
const run = (
  program: string,
  args: readonly string[],
  options: { cwd: string; first?: string },
): Promise<Ended> => {
  const first = options.first ?? dirname(process.execPath);
  const env = { ...process.env, PATH: `${first}${delimiter}${process.env.PATH}` };
  return new Promise((resolve) => {
    execFile(program, args, { cwd: options.cwd, env }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr });
    });
  });
};

const succeed = async (program: string, args: readonly string[], cwd: string): Promise<string> => {
  const { code, stdout, stderr } = await run(program, args, { cwd });
  assert.equal(code, 0, `${program} ${args.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
};

let folder = '';
let home = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'varve-package-'));
  home = join(folder, 'user');
  await mkdir(home);
  await succeed(process.execPath, ['scripts/run.mjs', 'build'], root);
  await succeed('npm', ['pack', join(root, 'dist'), '--pack-destination', folder], folder);
  const [tarball = ''] = globSync('*.tgz', { cwd: folder });
  await writeFile(join(home, 'package.json'), '{"private": true}');
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund'];
  await succeed('npm', ['install', ...quiet, join(folder, tarball)], home);
});
after(() => rm(folder, { recursive: true, force: true }));

const manifestOf = async (path: string): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(join(path, 'package.json'), 'utf8'));

test('the installed command tells its version and its schema', async () => {
  const varve = join(home, 'node_modules/.bin/varve');
  assert.equal((await succeed(varve, ['--version'], home)).trim(), (await manifestOf(root)).version);
  const schema = JSON.parse(await succeed(varve, ['schema'], home)) as { properties?: object };
  assert.ok('topic' in (schema.properties ?? {}));
});

test('the package carries what a user needs, and nothing that only its developers do', async () => {
  const installed = join(home, 'node_modules/varve');
  const manifest = await manifestOf(installed);
  for (const key of ['devDependencies', 'optionalDependencies', 'scripts'])
    assert.ok(!(key in manifest), key);
  assert.ok(!existsSync(join(home, 'node_modules/pg17')));
  assert.ok(!existsSync(join(home, 'node_modules/typescript')));
  for (const file of ['README.md', 'LICENSE', 'varve', 'src/main.js']) {
    assert.ok(existsSync(join(installed, file)), file);
  }
  const beside = globSync('connectors/**/*.{sql,yaml,md}', { cwd: root });
  for (const file of beside) assert.ok(existsSync(join(installed, file)), file);
  assert.deepEqual(
    globSync('{src,connectors}/**/*.ts', { cwd: installed }).filter((path) => !path.endsWith('.d.ts')),
    [],
  );
});

test('every file that compiled code names by URL is in the package', async () => {
  const installed = join(home, 'node_modules/varve');
  for (const path of globSync('{src,connectors}/**/*.js', { cwd: installed })) {
    const file = join(installed, path);
    for (const [, name = ''] of (await readFile(file, 'utf8')).matchAll(/new URL\(\s*['"](\.[^'"]+)['"]/g)) {
      assert.ok(existsSync(join(dirname(file), name)), `${path} names ${name}`);
    }
  }
});

test('the launcher refuses an old Node with a sentence', async () => {
  const old = join(folder, 'old');
  await mkdir(old);
  await writeFile(join(old, 'node'), '#!/bin/sh\necho v20.20.2\n');
  await chmod(join(old, 'node'), 0o755);
  const varve = join(home, 'node_modules/.bin/varve');
  const { code, stderr } = await run(varve, ['--version'], { cwd: home, first: old });
  assert.equal(code, 1);
  assert.match(stderr, /needs Node 24 or newer; .*old\/node is v20\.20\.2/);
});

test('the launcher runs a checkout from anywhere, through a link, on its own Node', async () => {
  const link = join(folder, 'linked-varve');
  await symlink(join(root, 'varve'), link);
  const { code, stdout, stderr } = await run(link, ['--version'], {
    cwd: folder,
    first: join(folder, 'old'),
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim(), (await manifestOf(root)).version);
});

test('the launcher of a checkout without packages says what to run', async () => {
  const bare = join(folder, 'bare');
  await mkdir(join(bare, 'src'), { recursive: true });
  await writeFile(join(bare, 'src/main.ts'), '');
  await writeFile(join(bare, 'varve'), await readFile(join(root, 'varve')), { mode: 0o755 });
  const { code, stderr } = await run(join(bare, 'varve'), [], { cwd: folder });
  assert.equal(code, 1);
  assert.match(stderr, /npm ci/);
});
