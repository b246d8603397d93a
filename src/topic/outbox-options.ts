// Owns what an outbox is told: where it publishes, in which form, and what it tells in turn. Words only.
import type { TableName } from '../change/schema.ts';
import type { PackRecords } from './batches.ts';
import type { Change } from './envelope-change.ts';
import type { ClaimStore, OversizedNotice, OversizedPolicy } from './envelope-oversized.ts';
import type { Names } from './format.ts';
import type { SourceBlock } from './prepared-table.ts';
import type { Publisher } from './publisher.ts';
import type { SubjectStrategy } from './subject.ts';

export type OutboxOptions = {
  publisher: Publisher;
  /** First part of every topic's name. */
  prefix: string;
  block: SourceBlock;
  /** How names become Avro names; Debezium's `avro` if absent. */
  names?: Names;
  /** A record with the key and no value after each delete; on if absent. */
  tombstones?: boolean;
  /** Operations that are not published; none if absent. */
  skip?: readonly Change['op'][];
  /** Changes are numbered, and `<prefix>.transaction` says where transactions begin and end; off if
   * absent. */
  transactionTopic?: boolean;
  /** What schemas are filed under; `topic_name` if absent. */
  subjects?: SubjectStrategy;
  /** How many partitions a table's topic gets if it is made; one if absent. */
  partitionsOf?: (table: TableName) => number;
  /** Tables of which all rows come again, so that a topic made again is no loss; none if absent. */
  readAgain?: (table: TableName) => boolean;
  /** What becomes of records that their topic does not take; `stop` if absent. */
  oversizedOf?: (table: TableName) => OversizedPolicy;
  /** Where `claim_check` keeps values. */
  claims?: ClaimStore;
  /** For counting and logging. */
  onNotice?: (notice: OutboxNotice) => void;
  /** Microseconds since 1970-01-01 UTC. */
  nowUs: () => bigint;
  /** Bytes that may wait for the publisher before `flush` waits. */
  maxInFlightBytes: number;
  pack: PackRecords;
};

/** Nothing is lost by any of them; each is worth a line in the log and a counter. */
export type OutboxNotice =
  | ({ kind: 'oversized' } & OversizedNotice)
  /** The registry refuses the table's new schema: its changes wait until a start finds that it takes it. */
  | { kind: 'blocked'; topic: string; parked: string; reason: string }
  /** Keys are framed with another schema id from here on, so they may go to other partitions. */
  | { kind: 'key_schema'; topic: string; before: number | null; now: number | null };
