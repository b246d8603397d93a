// Makes dist/, a folder that is the package: compiled src and connectors, the files beside them, the launcher
// and a manifest of its own. `npm publish ./dist` publishes it. Knows no module.
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

/** Gives the exit code. */
export const build = async (): Promise<number> => {
  rmSync(dist, { recursive: true, force: true });
  const compiler = join(root, 'node_modules/.bin/tsc');
  const { status } = spawnSync(compiler, ['-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) return status ?? 1;
  for (const file of globSync('{src,connectors}/**/*.js', { cwd: dist })) rewriteUrls(join(dist, file));
  copyBeside();
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  writeFileSync(join(dist, 'package.json'), `${JSON.stringify(packageManifest(manifest), null, 2)}\n`);
  return 0;
};

type Manifest = Record<string, unknown>;

/**
 * The compiler rewrites `./x.ts` in imports; a child process or worker is named by a URL, which it leaves
 * alone.
 */
const rewriteUrls = (file: string): void => {
  const text = readFileSync(file, 'utf8');
  const rewritten = text.replace(/(new URL\(\s*['"][^'"]+)\.ts(['"],\s*import\.meta\.url)/g, '$1.js$2');
  if (rewritten !== text) writeFileSync(file, rewritten);
};

/** What is no TypeScript goes along unchanged: SQL, YAML and READMEs of connectors, the page. */
const copyBeside = (): void => {
  const beside = globSync('{src,connectors}/**/*', { cwd: root, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length));
  for (const file of [...beside, 'varve', ...globSync('{README,CHANGELOG}.md', { cwd: root }), 'LICENSE']) {
    cpSync(join(root, file), join(dist, file));
  }
};

/** The package's manifest: neither development tools, nor test servers, nor Node. */
const packageManifest = (manifest: Manifest): Manifest => {
  const { devDependencies, optionalDependencies, scripts, private: _, ...kept } = manifest;
  return {
    ...kept,
    exports: {
      '.': { types: './src/index.d.ts', default: './src/index.js' },
      './package.json': './package.json',
    },
    files: ['src', 'connectors', 'varve', 'CHANGELOG.md'],
  };
};
