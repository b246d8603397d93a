// Owns the folder in which one process's merge engine works, beside the tables, so that finished files are
// adopted by a rename; and the taking away of what killed processes left there. Several workers of a pipeline
// share the place, on one machine or more: nobody takes what another may still need.
import { mkdir, mkdtemp, readdir, rm, rmdir, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { storeError } from './store-error.ts';

type Scratch = { path: string; close(): Promise<void> };

const SIGN_OF_LIFE_MS = 3_600_000;
/** Of a worker on another machine, which cannot be asked. */
const SILENT_MS = 24 * SIGN_OF_LIFE_MS;

const isAlive = (pid: number): boolean => {
  // An earlier process may have had our number, in a container it always has.
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown && thrown.code === 'EPERM';
  }
};

const isInUse = async (folder: string, name: string): Promise<boolean> => {
  const [, host, pid] = /^(.+)-(\d+)-\w+$/.exec(name) ?? [];
  if (host === undefined) return false;
  if (host === hostname()) return isAlive(Number(pid));
  const mtimeMs = (await stat(join(folder, name)).catch(() => null))?.mtimeMs ?? 0;
  return Date.now() - mtimeMs < SILENT_MS;
};

const removeLeftovers = async (folder: string): Promise<void> => {
  for (const name of await readdir(folder))
    if (!(await isInUse(folder, name))) await rm(join(folder, name), { recursive: true, force: true });
};

/** `directory`: of the tables, which several pipelines may share. */
export const openScratch = async (directory: string, pipeline: string): Promise<Scratch> => {
  const folder = join(directory, `.varve-scratch-${pipeline}`);
  try {
    await mkdir(folder, { recursive: true });
    await removeLeftovers(folder);
    const path = await mkdtemp(join(folder, `${hostname()}-${process.pid}-`));
    const sign = (): Promise<void> => utimes(path, new Date(), new Date()).catch(() => undefined);
    const signing = setInterval(() => void sign(), SIGN_OF_LIFE_MS).unref();
    const close = async (): Promise<void> => {
      clearInterval(signing);
      // What cannot be removed goes at the next start; said here, it would stand before what ended the run.
      await rm(path, { recursive: true, force: true }).catch(() => undefined);
      await rmdir(folder).catch(() => undefined);
    };
    return { path, close };
  } catch (thrown) {
    throw storeError('make', folder, thrown);
  }
};
