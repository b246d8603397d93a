// Owns the Produce call on the wire, https://kafka.apache.org/protocol#The_Messages_Produce: whole batches,
// stamped with who produces them and their place in the partition's sequence. Knows no retry and no
// transaction.
import type { Reader, Writer } from '@platformatic/kafka';
import { crc32c } from '../crc32c.ts';
import { AT, TRANSACTIONAL } from '../record-batch-header.ts';

/** As InitProducerId gave it; `transactionalId` null: idempotent only. */
export type Producer = { transactionalId: string | null; id: bigint; epoch: number };

/** A batch with its place in the sequence of its partition. */
export type Sequenced = {
  topic: string;
  partition: number;
  batch: Uint8Array;
  records: number;
  sequence: number;
};

/** The newest form in which AddPartitionsToTxn is still ours to send. */
export const PRODUCE = { key: 0, version: 11, flexible: true } as const;

const ALL_IN_SYNC_REPLICAS = -1;
const SEQUENCES = 2 ** 31;

/** Where the sequence of a partition stands behind `records` more: it wraps as the broker's does. */
export const nextSequence = (sequence: number, records: number): number => (sequence + records) % SEQUENCES;

/** The batch's header with the producer's stamp; the records behind it stay as they are. */
export const stampHeader = ({ batch, sequence }: Sequenced, producer: Producer): Buffer => {
  const header = Buffer.from(batch.subarray(0, AT.records));
  if (producer.transactionalId !== null)
    header.writeInt16BE(header.readInt16BE(AT.attributes) | TRANSACTIONAL, AT.attributes);
  header.writeBigInt64BE(producer.id, AT.producerId);
  header.writeInt16BE(producer.epoch, AT.producerEpoch);
  header.writeInt32BE(sequence, AT.baseSequence);
  const before = crc32c(header, AT.attributes);
  header.writeUInt32BE(crc32c(batch, AT.records, { before }), AT.crc);
  return header;
};

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

type Question = { producer: Producer; timeoutMs: number };

/** At most one batch a partition: the protocol takes no more. */
export const writeProduce = (
  out: Writer,
  batches: readonly Sequenced[],
  { producer, timeoutMs }: Question,
): void => {
  const topics = Map.groupBy(batches, ({ topic }) => topic);
  out.appendString(producer.transactionalId).appendInt16(ALL_IN_SYNC_REPLICAS).appendInt32(timeoutMs);
  out.appendArray([...topics], (writer, [topic, slices]) => {
    writer.appendString(topic).appendArray(slices, (partition, slice) => {
      partition.appendInt32(slice.partition).appendUnsignedVarInt(slice.batch.length + 1);
      partition.append(stampHeader(slice, producer)).append(asBuffer(slice.batch.subarray(AT.records)));
    });
  });
  out.appendTaggedFields();
};

export type Produced = { topic: string; partition: number; code: number; offset: bigint; message: string };

/** One answer a partition asked for; `offset`: of the batch's first record. */
export const readProduced = (from: Reader): Produced[] =>
  from
    .readArray((reader) => {
      const topic = reader.readString();
      return reader.readArray(() => {
        const [partition, code] = [reader.readInt32(), reader.readInt16()];
        const offset = reader.readInt64();
        reader.skip(16);
        const notes = reader.readArray(() => {
          reader.readInt32();
          return reader.readNullableString();
        });
        const message = [reader.readNullableString(), ...notes].filter((text) => text !== null).join('; ');
        return { topic, partition, code, offset, message };
      });
    })
    .flat();
