// Owns what a failed file operation means: a full disk comes right by itself, anything else needs somebody.
import { VarveError } from '../../errors.ts';

/** The operating system's name for what went wrong, such as ENOSPC. */
export const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException)?.code ?? 'unknown';

/** disk_full or store_failed, with the operation, the path and the code. */
export const storeError = (verb: string, path: string, thrown: unknown): VarveError => {
  const code = codeOf(thrown);
  const more = { facts: { path, code }, cause: thrown };
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new VarveError(
      'disk_full',
      `No space left to ${verb} ${path}; free some, work goes on by itself.`,
      more,
    );
  const sentence = `Could not ${verb} ${path}: ${code}. Check the disk and its permissions.`;
  return new VarveError('store_failed', sentence, more);
};
