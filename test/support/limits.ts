// Owns what a test may do to a running process from outside: limits of the kernel, and a small disk that only
// that process sees. Needs util-linux; the disk needs root or user namespaces.
import { execFile } from 'node:child_process';
import { cp, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const runFile = promisify(execFile);

/**
 * Bounds what a process may have from now on: `fsize` is bytes of one file, `nofile` open descriptors. Only
 * soft limits, so that `unlimited` (of `fsize`) lifts them again.
 */
export const limitProcess = async (
  pid: number,
  what: 'fsize' | 'nofile',
  most: number | 'unlimited',
): Promise<void> => {
  await runFile('prlimit', ['--pid', String(pid), `--${what}=${most}:`]);
};

/** For `start`: the process has a disk of so many megabytes at `path`, which must be an empty directory. */
export const onSmallDisk = (path: string, megabytes: number): readonly string[] => [
  'unshare',
  '--map-root-user',
  '--mount',
  'sh',
  '-c',
  `mount -t tmpfs -o size=${megabytes}m none "$0" && exec "$@"`,
  path,
];

/** The disk at `path` as the process has it, used from outside. */
export const smallDisk = (
  pid: number,
  path: string,
): {
  /** Takes all room but `freeKb`. */
  fill(freeKb: number): Promise<void>;
  free(): Promise<void>;
  /** Copies what is there to the same path outside, where it outlives the process. */
  rescue(): Promise<void>;
  refuseWrites(): Promise<void>;
} => {
  const inside = join('/proc', String(pid), 'root', path);
  const filler = join(inside, 'filler');
  return {
    async fill(freeKb) {
      const { bavail, bsize } = await statfs(inside);
      await writeFile(filler, Buffer.alloc(bavail * bsize - freeKb * 1024));
    },
    free: () => rm(filler),
    rescue: () => cp(inside, path, { recursive: true, filter: (from) => from !== filler }),
    async refuseWrites() {
      const remount = ['mount', '-o', 'remount,ro', path];
      await runFile('nsenter', [
        '--target',
        String(pid),
        '--user',
        '--mount',
        '--preserve-credentials',
        ...remount,
      ]);
    },
  };
};
