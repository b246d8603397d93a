// Owns the one way in which this connector's parts let an error of the driver become an error with a meaning.
import { mapPostgresError } from './error-map.ts';

/**
 * Faults of the program itself must not pass for faults of the network, which would be tried again for ever.
 */
const isOwnFault = (thrown: unknown): boolean =>
  [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => thrown instanceof kind);

/** Runs `action`; what the driver throws is mapped. `doing` completes "PostgreSQL answered x while ..". */
export const attempt = async <Result>(doing: string, action: () => Promise<Result>): Promise<Result> => {
  try {
    return await action();
  } catch (thrown) {
    throw isOwnFault(thrown) ? thrown : mapPostgresError(thrown, doing);
  }
};
