// Owns the names in a topic directory, what becomes of an operating system's error, and the steps that make a
// change of the directory durable. Knows no frame.
import { open, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type ErrorKind, VarveError } from '../../errors.ts';

export const MARK = 'mark';
export const RELEASED = 'released';
export const LOCK_PREFIX = 'lock.';
const UNFINISHED_SUFFIX = '.tmp';

const SEGMENT = /^(\d{12})\.segment$/;
const UNFINISHED_SEGMENT = /^\d{12}\.segment\.tmp$/;
/** Another process may be renaming these at any moment. */
const IN_MOTION = new Set([MARK + UNFINISHED_SUFFIX, RELEASED + UNFINISHED_SUFFIX]);

export const segmentPath = (path: string, number: number): string =>
  join(path, `${String(number).padStart(12, '0')}.segment`);

export type Listing = {
  segments: number[];
  unfinished: string[];
  mark: boolean;
  released: boolean;
  other: string[];
};

/** Segment numbers rise. Throws `state_lost` when the directory is not there. */
export const listDirectory = async (path: string): Promise<Listing> => {
  const listing: Listing = { segments: [], unfinished: [], mark: false, released: false, other: [] };
  const names = await readdir(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  for (const name of names.sort()) {
    const number = SEGMENT.exec(name)?.[1];
    if (number !== undefined) listing.segments.push(Number(number));
    else if (name === MARK) listing.mark = true;
    else if (name === RELEASED) listing.released = true;
    else if (UNFINISHED_SEGMENT.test(name)) listing.unfinished.push(name);
    else if (!name.startsWith(LOCK_PREFIX) && !IN_MOTION.has(name)) listing.other.push(name);
  }
  return listing;
};

/** A new file under its final name only when all of it is on the disk, and its name too. */
export const writeWhole = async (path: string, name: string, parts: readonly Uint8Array[]): Promise<void> => {
  const unfinished = join(path, name + UNFINISHED_SUFFIX);
  const file = await open(unfinished, 'w', 0o600);
  try {
    for (const part of parts) await file.writeFile(part);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(unfinished, join(path, name));
  await syncDirectory(path);
};

export const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};

export const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

const KINDS: Readonly<Record<string, { kind: ErrorKind; advice: string }>> = {
  ENOENT: {
    kind: 'state_lost',
    advice:
      'The directory of the embedded topic is not there. Put it back, or `varve reset` and snapshot again.',
  },
  ENOSPC: {
    kind: 'disk_full',
    advice: 'The disk is full. Free space, and a running pipeline goes on by itself; nothing half was kept.',
  },
  EDQUOT: {
    kind: 'disk_full',
    advice:
      'The disk quota is used up. Raise it, and a running pipeline goes on by itself; nothing half was kept.',
  },
  EFBIG: {
    kind: 'disk_full',
    advice:
      'A file may not grow further. Raise the limit (`ulimit -f`) and start again; nothing half was kept.',
  },
};

/** An operating system's error as a VarveError, with the path; a VarveError stays what it is. */
export const fileError = (error: unknown, path: string): VarveError => {
  if (error instanceof VarveError) return error;
  const { code = 'unknown', message } = error as NodeJS.ErrnoException;
  const known = KINDS[code];
  if (known)
    return new VarveError(known.kind, `${path}: ${known.advice}`, { facts: { path, code }, cause: error });
  return new VarveError(
    'disk_failed',
    `${path}: ${message}. The disk refused, and what was not confirmed is not kept; look at the disk ` +
      'and the rights, then start again.',
    { facts: { path, code }, cause: error },
  );
};

/** What every kind of damage to the directory leads to: never a guess, never a fresh start. */
export const damaged = (path: string, why: string, cause?: unknown): VarveError =>
  new VarveError(
    'state_corrupt',
    `The embedded topic is damaged, ${path}: ${why}. Nothing was changed. Restore the directory from a ` +
      `copy, or \`varve reset\` and snapshot again.`,
    { facts: { path, reason: why }, cause },
  );
