// Port: what a kind of topic must supply to the commands. One implementation is loaded, as the file says.
import type { Config } from '../config.ts';
import type { Finding } from '../connector.ts';
import type { Graveyard } from '../topic/dead-letters.ts';
import type { Feed } from '../topic/feed.ts';
import type { Publisher } from '../topic/publisher.ts';
import type { JoinWorkers } from '../workers.ts';
import type { OpenedClaims } from './topic-claims.ts';

/** Process id of the one that writes now; null: nobody does; undefined: this cannot be seen from here. */
type Runner = string | null | undefined;

/** What a reset takes away, and the taking away. */
export type Removal = { what: string; run(): Promise<void> };

export type TopicKind = {
  /** `onFull`: told each time writes begin to wait for room. Throws `state_locked` for a second writer. */
  openPublisher(config: Config, onFull: () => void): Promise<Publisher>;
  /** Throws `state_lost` where nothing was ever published. */
  openFeed(config: Config): Promise<Feed>;
  /** Where a process may write dead letters that is not the one writer; null: who folds is always that. */
  openGraveyard: ((config: Config) => Promise<Graveyard>) | null;
  /** Where values are kept that the topics do not take; null: they take everything. */
  openClaims: ((config: Config) => Promise<OpenedClaims | null>) | null;
  /** Null: the topic is one process's, and so are the tables. */
  joinWorkers: ((config: Config) => JoinWorkers) | null;
  findRunner(config: Config): Promise<Runner>;
  /** What it still lacks, each with what mends it. */
  check(config: Config): Promise<readonly Finding[]>;
  /**
   * Takes back the transaction that nobody will end; the partitions it was in. Throws `usage` where none
   * hangs, `hanging_transaction` where taking it back could lose something.
   */
  abortHanging(config: Config): Promise<readonly string[]>;
  /** Throws `state_foreign` rather than take away what is not the pipeline's. */
  planReset(config: Config): Promise<Removal>;
};
