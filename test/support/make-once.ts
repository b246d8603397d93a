// A folder that several test processes may want at once: made in a private place, then renamed. Knows not
// what is in it.
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Gives `target`, making it first if it is missing: `make` fills a private folder and returns the path,
 * inside it, of what becomes the target. Who loses a race throws its own away; a target that exists is
 * complete.
 */
export const makeOnce = async (target: string, make: (draft: string) => Promise<string>): Promise<string> => {
  if (await exists(target)) return target;
  await mkdir(dirname(target), { recursive: true });
  const draft = await mkdtemp(join(dirname(target), 'draft-'));
  try {
    await rename(await make(draft), target);
  } catch (error) {
    if (!['EEXIST', 'ENOTEMPTY'].includes(String((error as NodeJS.ErrnoException).code))) throw error;
  } finally {
    await removeFolder(draft);
  }
  return target;
};

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

export const removeFolder = (folder: string): Promise<void> =>
  rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
