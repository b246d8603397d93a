// Port: the durable end of the wire. Consumed by capture and snapshot; implemented by embedded/ and kafka/.

/** One finished Kafka RecordBatch v2 (base offset 0; the publisher sets the real one) for one partition. */
export type Slice = { topic: string; partition: number; batch: Uint8Array; records: number };

/**
 * State records ride in the same atomic write; `value` is JSON text without its checksum, null deletes the
 * key.
 */
export type StateRecord = { key: string; value: string | null };

export type AtomicWrite = { slices: readonly Slice[]; state: readonly StateRecord[] };

export type TopicSettings = {
  partitions: number;
  /** `EnsuredTopic.id` as it was; absent or null: any topic will do, also none yet. */
  id?: string | null;
};

/** As it is: what `ensureTopic` asked for holds only for a topic that is made. */
export type EnsuredTopic = {
  /** Another one after it was deleted and made again; null: such a thing is noticed otherwise. */
  id: string | null;
  partitions: number;
  /** A single record, uncompressed, with key and headers. */
  maxRecordBytes: number;
  /** About so much goes into one batch, uncompressed. */
  batchBytes: number;
};

export type Publisher = {
  /** State as of the last durable write: key -> JSON text. Damage was detected on opening and threw. */
  state(): ReadonlyMap<string, string>;
  /**
   * Creates the topic or refuses settings that break a guarantee. Returns it as it is. Throws
   * `topic_changed`, and makes nothing, where it is not the one it was.
   */
  ensureTopic(name: string, settings: TopicSettings): Promise<EnsuredTopic>;
  /** Id of this Avro schema text under this subject; the same text gives the same id for ever. */
  registerSchema(subject: string, schema: string): Promise<number>;
  /**
   * All or nothing, in the order of the calls; resolves when durable. May be called again before it resolves.
   */
  write(write: AtomicWrite): Promise<void>;
  /**
   * Becomes the one writer: before the first write, and after a failed one, since then every later one is
   * refused. Reads again what is durable; who wrote begins anew from `state()`. Does nothing for a writer
   * that did not fail; throws what still stands in the way, `fenced` when another has taken over.
   */
  recover(): Promise<void>;
  close(): Promise<void>;
};
