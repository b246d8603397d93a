// Owns what a topic still holds of keys: which records, since when, until when; and telling a compacted topic
// that they are gone. Takes nothing out of a topic: no log gives up single records.
import type { Config } from '../config.ts';
import { type EngineValue, UNHELD } from '../sinks/parquet/columns-value.ts';
import { keyTextOf } from '../sinks/parquet/engine/key-text.ts';
import { type AvroValue, compileReader, FRAME_LENGTH, readSchemaId } from '../topic/avro-read.ts';
import { codecById } from '../topic/compression.ts';
import type { Graveyard } from '../topic/dead-letters.ts';
import type { Feed } from '../topic/feed.ts';
import type { Slice } from '../topic/publisher.ts';
import { RecordBatchBuilder, readRecords } from '../topic/record-batch.ts';
import type { NamedTable } from './asked.ts';
import { HOUR_MS } from './command.ts';
import { keyColumnsAt } from './key-columns.ts';

export type HeldInTopic = {
  /** Records with a value. */
  records: number;
  /** Those that the table has not folded yet. */
  waiting: number;
  /** When the newest of them was written; 0: there is none. */
  newestMs: number;
  /** The keys as they are written, by partition. */
  keys: ReadonlyMap<number, ReadonlyMap<string, Uint8Array>>;
};

const READ_BYTES = 8 << 20;

type Seen = { key: Uint8Array; offset: number; timestamp: number; order: string; hasValue: boolean };

const recordsOf = (batches: readonly Uint8Array[], from: bigint): Seen[] => {
  const seen: Seen[] = [];
  const text = new TextDecoder();
  for (const batch of batches)
    readRecords(
      batch,
      (view) => {
        const { bytes, offset, timestamp, keyStart, keyEnd, valueStart } = view;
        if (keyStart < 0 || BigInt(offset) < from) return;
        const order = view.header('varve.order');
        const key = bytes.slice(keyStart, keyEnd);
        const hasValue = valueStart >= 0;
        seen.push({ key, offset, timestamp, order: order === null ? '~' : text.decode(order), hasValue });
      },
      { codec: codecById },
    );
  return seen;
};

type ReadKey = (bytes: Uint8Array, order: string) => Promise<string | null>;

/** The text of a record's key; null where it cannot be told. */
const keyReader = (feed: Feed, table: NamedTable): ReadKey => {
  type Plan = { read: (bytes: Uint8Array) => readonly AvroValue[]; names: readonly string[] };
  const plans = new Map<number, Promise<Plan>>();
  const planOf = async (id: number): Promise<Plan> => {
    const schema = await feed.schema(id);
    const { fields = [] } = JSON.parse(schema) as { fields?: { name: string }[] };
    const reader = compileReader(schema, { records: 'arrays' });
    const read = (bytes: Uint8Array) =>
      reader(bytes, FRAME_LENGTH, bytes.length) as unknown as readonly AvroValue[];
    return { read, names: fields.map(({ name }) => name) };
  };
  return async (bytes, order) => {
    const id = readSchemaId(bytes, 0, bytes.length);
    const known = plans.get(id) ?? planOf(id);
    plans.set(id, known);
    const { read, names } = await known;
    const row = read(bytes);
    const values = keyColumnsAt(table, order).map(({ field, convert }) => {
      const value = row[names.indexOf(field)];
      return value === null || value === undefined ? UNHELD : convert(value);
    });
    return values.includes(UNHELD) ? null : keyTextOf(values as EngineValue[]);
  };
};

/** Reads the whole topic. `offsets`: up to which the table has it, by partition. */
export const findInTopic = async (
  { feed, table, offsets }: { feed: Feed; table: NamedTable; offsets: ReadonlyMap<number, bigint> },
  keys: ReadonlySet<string>,
): Promise<HeldInTopic> => {
  const held = { records: 0, waiting: 0, newestMs: 0, keys: new Map<number, Map<string, Uint8Array>>() };
  const readKey = keyReader(feed, table);
  for (let partition = 0; partition < (await feed.partitions(table.topic)); partition++) {
    const { start, end } = await feed.ends(table.topic, partition);
    const folded = offsets.get(partition) ?? 0n;
    for (let at = start; at < end; ) {
      const batch = await feed.read(table.topic, partition, { from: at, maxBytes: READ_BYTES });
      for (const { key, order, offset, timestamp, hasValue } of recordsOf(batch.batches, at)) {
        const text = await readKey(key, order);
        if (text === null || !keys.has(text) || !hasValue) continue;
        held.records++;
        if (BigInt(offset) >= folded) held.waiting++;
        held.newestMs = Math.max(held.newestMs, timestamp);
        const known = held.keys.get(partition) ?? new Map<string, Uint8Array>();
        held.keys.set(partition, known.set(Buffer.from(key).toString('hex'), key));
      }
      if (batch.nextOffset === at) break;
      at = batch.nextOffset;
    }
  }
  return held;
};

/** A record without value for each key, in the partition where it lies. Gives how many. */
export const writeTombstones = async (
  topic: string,
  { keys }: HeldInTopic,
  { writer, nowMs }: { writer: Pick<Graveyard, 'write'>; nowMs: number },
): Promise<number> => {
  const slices: Slice[] = [];
  for (const [partition, found] of keys) {
    const builder = new RecordBatchBuilder();
    for (const key of found.values()) {
      builder.beginRecord(nowMs);
      builder.beginKey();
      builder.writer.raw(key);
      builder.endKey();
      builder.nullValue();
      builder.endRecord();
    }
    slices.push({ topic, partition, batch: builder.finish(), records: found.size });
  }
  if (slices.length > 0) await writer.write({ slices, state: [] });
  return slices.reduce((sum, { records }) => sum + records, 0);
};

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');

/** How long the topic goes on holding it, in sentences. */
export const retentionText = ({ topic }: Config, { records, newestMs }: HeldInTopic): string => {
  if (records === 0) return 'the topic holds no record of it any more';
  const held = `the topic still holds ${records} records of it, the newest of ${day(newestMs)} UTC`;
  if (topic.retention_hours === null)
    return `${held}: as long as the broker's retention says; with cleanup.policy=compact, until it compacts`;
  const until = day(newestMs + topic.retention_hours * HOUR_MS);
  return topic.kind === 'embedded'
    ? `${held}; they go with retention, from ${until} UTC on (${topic.retention_hours} hours), ` +
        'when their segment is full; varve reset takes the whole topic away at once'
    : `${held}; they go with retention, from ${until} UTC on; with cleanup.policy=compact, when it compacts`;
};

/** Other topics that may hold the rows in bytes that no key names. */
export const otherTopics = async (feed: Feed, { topic }: Config): Promise<readonly string[]> => {
  const mine = `${topic.prefix}.varve.`;
  return (await feed.topics())
    .filter((name) => name === `${mine}dead` || name.startsWith(`${mine}parked.`))
    .sort();
};
