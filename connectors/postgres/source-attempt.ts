// Owns the one way in which this connector's parts let an error of the driver become an error with a meaning.
import { mapPostgresError } from './error-map.ts';

/** Runs `action`; what it throws is mapped. `doing` completes "PostgreSQL answered x while ..". */
export const attempt = async <Result>(doing: string, action: () => Promise<Result>): Promise<Result> => {
  try {
    return await action();
  } catch (thrown) {
    throw mapPostgresError(thrown, doing);
  }
};
