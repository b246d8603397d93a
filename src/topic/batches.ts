// Owns the records that wait, by topic and partition, and making batches of them. Knows no schema and no
// table.
import type { EnsuredTopic, Slice } from './publisher.ts';
import { RecordBatchBuilder, type TakenRecords } from './record-batch.ts';
import { SpareBuffers } from './spare-buffers.ts';

/** Topics of few partitions are few: a large first buffer spares the first batches' growth. */
const FIRST_BYTES = 1 << 20;

/** Makes a batch of records; they stay as they are until it resolves. */
export type PackRecords = (taken: TakenRecords) => Promise<Uint8Array>;

/** A topic's builders, one a partition. */
type Partitions = readonly RecordBatchBuilder[];

export class Batches {
  readonly #pack: PackRecords;
  readonly #topics = new Map<string, Partitions>();
  readonly #spares = new SpareBuffers();
  readonly #meter = { bytes: 0 };

  constructor(pack: PackRecords) {
    this.#pack = pack;
  }

  /** Bytes of records that wait, uncompressed. */
  get bytes(): number {
    return this.#meter.bytes;
  }

  /** What waits with the records without being one. */
  addBytes(count: number): void {
    this.#meter.bytes += count;
  }

  /** One builder a partition; the topic's own for good. */
  of(topic: string, { partitions, maxRecordBytes, batchBytes }: EnsuredTopic): Partitions {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    const options = { maxRecordBytes, maxBytes: batchBytes, spares: this.#spares, meter: this.#meter };
    const capacity = Math.floor(FIRST_BYTES / partitions);
    const made = Array.from({ length: partitions }, () => new RecordBatchBuilder(capacity, options));
    this.#topics.set(topic, made);
    return made;
  }

  /** Everything that waits, as batches, those of one partition in order; nothing waits any more. */
  take(): Promise<Slice[]> {
    this.#meter.bytes = 0;
    const taken = [...this.#topics].flatMap(([topic, builders]) =>
      builders.flatMap((builder, partition) =>
        builder.takeAll().map((records) => ({ topic, partition, builder, records })),
      ),
    );
    return Promise.all(
      taken.map(async ({ topic, partition, builder, records }) => {
        const batch = await this.#pack(records);
        builder.recycle(records);
        return { topic, partition, batch, records: records.records };
      }),
    );
  }
}
