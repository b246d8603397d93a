// Port: who folds which topic while several processes run one pipeline. Consumed by the table half;
// implemented where a topic can be shared. It only spreads the work: what makes two on one table harmless is
// the table's own commit.
import type { VarveError } from './errors.ts';

export type Workers = {
  /** More topics to share; those known already change nothing. */
  offer(topics: readonly string[]): void;
  /**
   * The topics that are this process's now, none while the others may have taken them over. To be asked again
   * and again. Throws what no waiting mends.
   */
  share(): ReadonlySet<string>;
  /** Resolves when the share may have changed, when the signal aborts, or after `timeoutMs`. */
  changed(timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Leaves, so that the others take over at once. */
  close(): Promise<void>;
};

/**
 * Joins the others of this pipeline; `topics`: those to share, as far as they are known. `onStanding`: told
 * when membership is in trouble that may pass, and with null when it works again.
 */
export type JoinWorkers = (
  topics: readonly string[],
  onStanding: (trouble: VarveError | null) => void,
) => Promise<Workers>;
