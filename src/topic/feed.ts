// Port: the reading end of the wire. Consumed by sinks, `tail` and `status`; only committed records are ever
// seen.

/** Whole RecordBatches; the first may start below the offset asked for, so the reader skips by offset. */
export type FeedBatch = { partition: number; batches: readonly Uint8Array[]; nextOffset: bigint };

/** At least one whole batch where there is one, however large. */
export type ReadRange = { from: bigint; maxBytes: number };

export type TopicEnds = { start: bigint; end: bigint };

export type Feed = {
  topics(): Promise<readonly string[]>;
  partitions(topic: string): Promise<number>;
  /** Throws `offset_lost` when `from` is below the retained start or beyond the end. Empty at the end, or
   * where `changed` is about to tell of more. */
  read(topic: string, partition: number, range: ReadRange): Promise<FeedBatch>;
  /** Retained start and committed end. */
  ends(topic: string, partition: number): Promise<TopicEnds>;
  /** Changes when the topic is deleted and created again: an offset of another incarnation means nothing. */
  topicId(topic: string): Promise<string>;
  /** Avro schema text. Throws `schema_unknown`. */
  schema(id: number): Promise<string>;
  state(): Promise<ReadonlyMap<string, string>>;
  /**
   * Resolves when something was committed since the last call, when the signal aborts, or after `timeoutMs`.
   */
  changed(timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Everything below `offset` is safe in a table; retention may take it. Never moves back. */
  release(topic: string, partition: number, offset: bigint): Promise<void>;
  /** Nobody here reads it any more: its news are not told, and nothing is kept for the next read. */
  leave(topic: string): void;
  close(): Promise<void>;
};
