// Owns reading a pipeline's topics as a stranger does: kafkajs as a read_committed consumer, avsc, the
// registry over HTTP. Uses none of Varve's readers.
import { createHash, randomUUID } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import kafkajs, { type EachBatchPayload, type IHeaders, type KafkaMessage } from 'kafkajs';
import { avroType } from './avsc.ts';
import type { RowImage, TopicRecord } from './topic-rows.ts';

kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  compress: () => Promise.reject(new Error('this side only reads')),
  decompress: async (bytes: Buffer) => zstdDecompressSync(bytes),
});

type Topics = { readonly brokers: readonly string[]; readonly registry: string; readonly prefix: string };

const connect = ({ brokers }: Pick<Topics, 'brokers'>): kafkajs.Kafka =>
  new kafkajs.Kafka({
    clientId: 'stranger',
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
  });

type Schema = string | readonly Schema[] | Readonly<Record<string, unknown>>;
type Field = { readonly name: string; readonly type: Schema };

/** As the source prints it in the audit. */
const textOf = (schema: Schema, value: unknown): string | null => {
  if (value === null) return null;
  if (Array.isArray(schema)) {
    const [inner] = Object.values(value as object);
    return textOf(schema.find((branch) => branch !== 'null') as Schema, inner);
  }
  const { 'connect.name': name, logicalType, scale } = schema as Readonly<Record<string, unknown>>;
  if (logicalType === 'decimal') return decimalText(value as Buffer, Number(scale ?? 0));
  if (name === 'io.debezium.time.Date')
    return new Date(Number(value) * 86_400_000).toISOString().slice(0, 10);
  if (name === 'io.debezium.time.ZonedTimestamp') {
    const [, second = '', fraction = ''] = /^([^.Z]+)(?:\.(\d+))?Z$/.exec(String(value)) ?? [];
    return `${second}.${fraction.padEnd(6, '0')}`;
  }
  return String(value);
};

const decimalText = (bytes: Buffer, scale: number): string => {
  const digits = BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex') || '0'}`));
  const text = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, '0');
  const whole = text.slice(0, text.length - scale);
  return `${digits < 0n ? '-' : ''}${whole}${scale > 0 ? `.${text.slice(-scale)}` : ''}`;
};

/** Columns that the audit holds in another form than as their text. */
const AUDIT_FORM: Readonly<Record<string, (text: string) => string>> = {
  big: (text) => createHash('md5').update(text).digest('hex'),
  score: (text) => String(Number(text)),
};

type Decoded = { fields: readonly Field[]; value: Readonly<Record<string, unknown>> };

class Schemas {
  readonly #registry: string;
  readonly #known = new Map<number, Promise<{ fields: readonly Field[]; read(bytes: Buffer): unknown }>>();

  constructor(registry: string) {
    this.#registry = registry;
  }

  async decode(framed: Buffer): Promise<Decoded> {
    const id = framed.readInt32BE(1);
    const found = this.#known.get(id) ?? this.#fetch(id);
    this.#known.set(id, found);
    const { fields, read } = await found;
    return { fields, value: read(framed.subarray(5)) as Decoded['value'] };
  }

  async #fetch(id: number): Promise<{ fields: readonly Field[]; read(bytes: Buffer): unknown }> {
    const answer = await fetch(`${this.#registry}/schemas/ids/${id}`);
    const { schema } = (await answer.json()) as { schema: string };
    const parsed = JSON.parse(schema) as { fields: readonly Field[] };
    const type = avroType(parsed);
    return { fields: parsed.fields, read: (bytes) => type.fromBuffer(bytes) };
  }
}

/** The record inside an optional field: its schema and its value. */
const inner = ({ fields, value }: Decoded, name: string): Decoded | null => {
  const found = value[name] as object | null | undefined;
  if (found === null || found === undefined) return null;
  const type = fields.find((field) => field.name === name)?.type;
  const isOptional = Array.isArray(type);
  const schema = (isOptional ? type.find((branch) => branch !== 'null') : type) as {
    fields?: readonly Field[];
  };
  const record = (isOptional ? Object.values(found)[0] : found) as Decoded['value'];
  // The second of two fields of one type names the first one's.
  return { fields: schema.fields ?? rowFields(fields), value: record };
};

const rowFields = (fields: readonly Field[]): readonly Field[] => {
  const [first] = fields.filter(({ name }) => name === 'before').map(({ type }) => type as readonly Schema[]);
  return ((first ?? []).find((branch) => branch !== 'null') as { fields: readonly Field[] }).fields;
};

const imageOf = (row: Decoded | null, unsent: readonly string[]): RowImage | null => {
  if (row === null) return null;
  return row.fields.map(({ name, type }) => {
    if (unsent.includes(name)) return undefined;
    const text = textOf(type, row.value[name]);
    return text === null ? null : (AUDIT_FORM[name]?.(text) ?? text);
  });
};

const header = (headers: IHeaders, name: string): string | null => {
  const found = headers[name];
  return found === undefined ? null : String(Array.isArray(found) ? found[0] : found);
};

/** kafkajs tells, beside what its types say, which batch a record came in. */
type Batched = KafkaMessage & {
  batchContext: { producerId: string; producerEpoch: number; firstSequence: number; firstOffset: string };
};

const batchName = (topic: string, partition: number, message: Batched): string => {
  const { producerEpoch, firstSequence, firstOffset } = message.batchContext;
  const sequence = firstSequence + Number(BigInt(message.offset) - BigInt(firstOffset));
  return `${topic}/${partition}/${producerEpoch}/${sequence}`;
};

type Fetched = { topic: string; partition: number; message: Batched };

const decode = async (
  { topic, partition, message }: Fetched,
  { schemas, prefix, atomic }: { schemas: Schemas; prefix: string; atomic: ReadonlyMap<string, string> },
): Promise<TopicRecord> => {
  const { key, value, headers = {}, offset } = message;
  const keyed = key === null ? null : await schemas.decode(key);
  const envelope = value === null ? null : await schemas.decode(value);
  const unsent = JSON.parse(header(headers, 'varve.unchanged') ?? '[]') as string[];
  const op = envelope === null ? null : (String(envelope.value.op) as TopicRecord['op']);
  const source = envelope === null ? null : inner(envelope, 'source');
  const txId = source === null ? null : textOf(['null', 'long'], source.value.txId ?? null);
  return {
    table: topic.slice(prefix.length + 1),
    partition,
    offset: BigInt(offset),
    op,
    key: keyed === null ? null : (imageOf(keyed, [])?.join('|') ?? null),
    before: envelope === null ? null : imageOf(inner(envelope, 'before'), []),
    after: envelope === null ? null : imageOf(inner(envelope, 'after'), unsent),
    order: header(headers, 'varve.order') ?? '',
    tx: op === 'r' ? null : txId,
    atomic: atomic.get(batchName(topic, partition, message)) ?? null,
  };
};

/** Everything that a read_committed consumer gets, from each topic's start to its end as it is now. */
const fetchAll = async (kafka: kafkajs.Kafka, topics: readonly string[]): Promise<Fetched[]> => {
  const admin = kafka.admin();
  await admin.connect();
  const left = new Map<string, bigint>();
  for (const topic of topics)
    for (const { partition, high, low } of await admin.fetchTopicOffsets(topic))
      if (BigInt(high) > BigInt(low)) left.set(`${topic}/${partition}`, BigInt(high));
  await admin.disconnect();
  if (left.size === 0) return [];
  // By place: a consumer that begins anew begins from the start.
  const found = new Map<string, Fetched>();
  const consumer = kafka.consumer({ groupId: `stranger-${randomUUID()}`, maxWaitTimeInMs: 100 });
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      // One whose coordinator is not there yet begins anew by itself.
      consumer.on('consumer.crash', ({ payload: { restart, error } }) => void (restart || reject(error)));
      // Told of batches of markers alone, too, which nobody else is.
      consumer.on('consumer.end_batch_process', ({ payload }) => {
        const name = `${payload.topic}/${payload.partition}`;
        if (BigInt(payload.lastOffset) + 1n >= (left.get(name) ?? 0n)) left.delete(name);
        if (left.size === 0) resolve();
      });
      const eachBatch = async ({
        batch: { topic, partition, messages },
      }: EachBatchPayload): Promise<void> => {
        for (const message of messages) {
          const place = `${topic}/${partition}@${message.offset}`;
          found.set(place, { topic, partition, message: message as Batched });
        }
      };
      consumer.run({ autoCommit: false, eachBatch }).catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return [...found.values()];
};

/** The state's record of each transaction lists its batches. */
const atomicWrites = (state: readonly Fetched[]): Map<string, string> => {
  const names = new Map<string, string>();
  for (const { message } of state) {
    if (message.key?.toString() !== '.transaction' || message.value === null) continue;
    const { producerEpoch } = message.batchContext;
    const text = message.value.toString().replace(/^[0-9a-f]{8}:/, '');
    const { n, batches } = JSON.parse(text) as { n: number; batches: [string, number, number, number][] };
    for (const [topic, partition, sequence, records] of batches)
      for (let at = 0; at < records; at++)
        names.set(`${topic}/${partition}/${producerEpoch}/${sequence + at}`, `write ${producerEpoch}.${n}`);
  }
  return names;
};

/**
 * The tables' records, by topic, partition and offset. Every one has its atomic write, where there are any.
 */
export const readTopics = async (topics: Topics): Promise<TopicRecord[]> => {
  const { prefix, registry } = topics;
  const kafka = connect(topics);
  const admin = kafka.admin();
  await admin.connect();
  const state = `${prefix}.varve.state`;
  const isRead = (name: string): boolean =>
    name === state || (name.startsWith(`${prefix}.`) && !name.startsWith(`${prefix}.varve.`));
  const names = (await admin.listTopics()).filter(isRead);
  await admin.disconnect();
  const fetched = await fetchAll(kafka, names);
  const atomic = atomicWrites(fetched.filter(({ topic }) => topic === state));
  const schemas = new Schemas(registry);
  const records: TopicRecord[] = [];
  for (const one of fetched)
    if (one.topic !== state) records.push(await decode(one, { schemas, prefix, atomic }));
  return records.sort(
    (a, b) => a.table.localeCompare(b.table) || a.partition - b.partition || Number(a.offset - b.offset),
  );
};
