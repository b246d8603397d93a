// Owns finding one event in a topic: its partition, its offset, and what the source said of it. Reads headers
// of all records that it passes, and no more of any but the one.
import type { Order } from '../change/order.ts';
import { type EngineValue, UNHELD } from '../sinks/parquet/columns-value.ts';
import { keyTextOf } from '../sinks/parquet/engine/key-text.ts';
import { type AvroValue, compileReader, FRAME_LENGTH, readSchemaId } from '../topic/avro-read.ts';
import { codecById } from '../topic/compression.ts';
import type { Feed } from '../topic/feed.ts';
import { readRecords } from '../topic/record-batch.ts';
import type { NamedTable } from './asked.ts';
import { keyColumnsAt } from './key-columns.ts';
import { type Printable, printable } from './printable.ts';

/** Whose event it is: an order is one row change's, whose halves may have two keys. */
type Sought = { order: Order; key: readonly EngineValue[]; isDelete: boolean };

export type TopicPlace = {
  partition: number;
  offset: bigint;
  op: string;
  /** What the source said of the change, by its own names. */
  source: Printable;
};

/** Offsets of one partition, half-open. */
export type TopicRange = { partition: number; from: bigint; to: bigint };

const READ_BYTES = 8 << 20;

type Found = { offset: number; key: Uint8Array | null; value: Uint8Array };

/** Records of this order in these batches. */
const recordsOf = (batches: readonly Uint8Array[], order: Order): Found[] => {
  const wanted = new TextEncoder().encode(order);
  const found: Found[] = [];
  for (const batch of batches)
    readRecords(
      batch,
      (view) => {
        const header = view.header('varve.order');
        if (header === null || view.valueStart < 0 || Buffer.compare(header, wanted) !== 0) return;
        const { bytes, offset, keyStart, keyEnd, valueStart, valueEnd } = view;
        const key = keyStart < 0 ? null : bytes.slice(keyStart, keyEnd);
        found.push({ offset, key, value: bytes.slice(valueStart, valueEnd) });
      },
      { codec: codecById },
    );
  return found;
};

const isKey = async (
  { feed, table }: { feed: Feed; table: NamedTable },
  bytes: Uint8Array,
  { key, order }: Sought,
): Promise<boolean> => {
  const schema = await feed.schema(readSchemaId(bytes, 0, bytes.length));
  const { fields = [] } = JSON.parse(schema) as { fields?: { name: string }[] };
  const row = compileReader(schema, { records: 'arrays' })(bytes, FRAME_LENGTH, bytes.length);
  const values = keyColumnsAt(table, order).map(({ field, convert }) => {
    const value = (row as readonly AvroValue[])[fields.findIndex(({ name }) => name === field)];
    return value === null || value === undefined ? UNHELD : convert(value);
  });
  return !values.includes(UNHELD) && keyTextOf(values as EngineValue[]) === keyTextOf(key);
};

type Envelope = { op: string; source: AvroValue };

/** What is found in one range; null: it is not there. */
const findInRange = async (
  parts: { feed: Feed; table: NamedTable },
  { partition, from, to }: TopicRange,
  sought: Sought,
): Promise<TopicPlace | null> => {
  const { feed, table } = parts;
  for (let at = from; at < to; ) {
    const batch = await feed.read(table.topic, partition, { from: at, maxBytes: READ_BYTES });
    for (const { offset, key, value } of recordsOf(batch.batches, sought.order)) {
      const schema = await feed.schema(readSchemaId(value, 0, value.length));
      const { op, source } = compileReader(schema)(value, FRAME_LENGTH, value.length) as unknown as Envelope;
      // A truncate is everybody's.
      const isOurs = op === 't' || (key !== null && (await isKey(parts, key, sought)));
      if (!isOurs || (op === 'd') !== (sought.isDelete && op !== 't')) continue;
      return { partition, offset: BigInt(offset), op, source: printable(source, { type: 'struct' }) };
    }
    if (batch.nextOffset === at) break;
    at = batch.nextOffset;
  }
  return null;
};

/** Looks through the ranges one after the other. */
export const findRecord = async (
  parts: { feed: Feed; table: NamedTable },
  ranges: readonly TopicRange[],
  sought: Sought,
): Promise<TopicPlace | null> => {
  for (const range of ranges) {
    const found = await findInRange(parts, range, sought);
    if (found !== null) return found;
  }
  return null;
};
