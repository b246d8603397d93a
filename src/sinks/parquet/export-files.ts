// Owns looking at files of an export on this machine: how large they are by now, their checksums.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
};

/** Of what has been written so far; a file that vanishes is not counted. */
export const measure = async (folder: string): Promise<{ files: number; bytes: number }> => {
  const done = { files: 0, bytes: 0 };
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => null);
    done.files++;
    done.bytes += found?.size ?? 0;
  }
  return done;
};
