// Owns the records that Varve publishes beside the tables' changes, as Debezium has them: where transactions
// begin and end, and heartbeats. Knows neither when they are due nor who asks for them.
import type { ConnectField, ConnectType } from '../change/schema.ts';
import { avroSchema } from './avro-schema.ts';
import type { EventCounts } from './envelope-change.ts';
import { frameOf } from './envelope-key.ts';
import { heartbeatTopic } from './naming.ts';
import type { Publisher } from './publisher.ts';
import type { RecordBatchBuilder } from './record-batch.ts';
import { type SubjectStrategy, subjectName } from './subject.ts';

/** Makes the topic, one partition, and gives its builder. */
export type OpenTopic = (topic: string) => Promise<RecordBatchBuilder>;

type OwnTopic = { publisher: Publisher; prefix: string; openTopic: OpenTopic; subjects: SubjectStrategy };

const needed = (field: string, type: ConnectType): ConnectField => ({ field, type, optional: false });
const perhaps = (field: string, type: ConnectType): ConnectField => ({ field, type, optional: true });
const struct = (name: string, fields: ConnectField[]): ConnectType => ({
  type: 'struct',
  name: `io.debezium.connector.common.${name}`,
  version: 1,
  fields,
});

const TEXT: ConnectType = { type: 'string' };
const LONG: ConnectType = { type: 'int64' };
const COLLECTION: ConnectType = {
  type: 'struct',
  name: 'event.collection',
  version: 1,
  fields: [needed('data_collection', TEXT), needed('event_count', LONG)],
};
const TRANSACTION_KEY = struct('TransactionMetadataKey', [needed('id', TEXT)]);
const TRANSACTION_VALUE = struct('TransactionMetadataValue', [
  needed('status', TEXT),
  needed('id', TEXT),
  perhaps('event_count', LONG),
  perhaps('data_collections', { type: 'array', items: { ...COLLECTION, optional: true } }),
  needed('ts_ms', LONG),
]);
const HEARTBEAT_KEY = struct('ServerNameKey', [needed('serverName', TEXT)]);
const HEARTBEAT_VALUE = struct('Heartbeat', [needed('ts_ms', LONG)]);

const NULL_BRANCH = 0;
const VALUE_BRANCH = 2;

type Frames = { key: Uint8Array; value: Uint8Array };

const register = async (
  { publisher, subjects }: Pick<OwnTopic, 'publisher' | 'subjects'>,
  topic: string,
  types: { key: ConnectType; value: ConnectType },
): Promise<Frames> => {
  const frame = async (part: 'key' | 'value'): Promise<Uint8Array> => {
    const schema = avroSchema(types[part]);
    return frameOf(await publisher.registerSchema(subjectName(subjects, { topic, part, schema }), schema));
  };
  return { key: await frame('key'), value: await frame('value') };
};

/** `tsMs`: the source's commit; `nowMs`: Varve's clock; `counts`: null where the transaction begins. */
type TransactionMark = { id: string; counts: EventCounts | null; tsMs: number; nowMs: number };

/** `<prefix>.transaction`. */
export class TransactionTopic {
  readonly #builder: RecordBatchBuilder;
  readonly #frames: Frames;

  private constructor(builder: RecordBatchBuilder, frames: Frames) {
    this.#builder = builder;
    this.#frames = frames;
  }

  static async open({ publisher, prefix, openTopic, subjects }: OwnTopic): Promise<TransactionTopic> {
    const topic = `${prefix}.transaction`;
    const builder = await openTopic(topic);
    const types = { key: TRANSACTION_KEY, value: TRANSACTION_VALUE };
    return new TransactionTopic(builder, await register({ publisher, subjects }, topic, types));
  }

  write({ id, counts, tsMs, nowMs }: TransactionMark): void {
    const out = this.#builder;
    out.beginRecord(nowMs);
    const { writer } = out;
    out.beginKey();
    writer.raw(this.#frames.key);
    writer.text(id);
    out.endKey();
    out.beginValue();
    writer.raw(this.#frames.value);
    writer.text(counts === null ? 'BEGIN' : 'END');
    writer.text(id);
    if (counts === null) {
      writer.byte(NULL_BRANCH);
      writer.byte(NULL_BRANCH);
    } else {
      const collections = Object.entries(counts).filter(([, count]) => count > 0);
      writer.byte(VALUE_BRANCH);
      writer.long(collections.reduce((sum, [, count]) => sum + count, 0));
      writer.byte(VALUE_BRANCH);
      if (collections.length > 0) writer.long(collections.length);
      for (const [collection, count] of collections) {
        writer.byte(VALUE_BRANCH);
        writer.text(collection);
        writer.long(count);
      }
      writer.byte(0);
    }
    writer.long(tsMs);
    out.endValue();
    out.endRecord();
  }
}

/** `__debezium-heartbeat.<prefix>`. */
export class HeartbeatTopic {
  readonly #builder: RecordBatchBuilder;
  readonly #frames: Frames;
  readonly #prefix: string;

  private constructor(builder: RecordBatchBuilder, { frames, prefix }: { frames: Frames; prefix: string }) {
    this.#builder = builder;
    this.#frames = frames;
    this.#prefix = prefix;
  }

  static async open({ publisher, prefix, openTopic, subjects }: OwnTopic): Promise<HeartbeatTopic> {
    const topic = heartbeatTopic(prefix);
    const builder = await openTopic(topic);
    const frames = await register({ publisher, subjects }, topic, {
      key: HEARTBEAT_KEY,
      value: HEARTBEAT_VALUE,
    });
    return new HeartbeatTopic(builder, { frames, prefix });
  }

  /** `nowMs`: Varve's clock, milliseconds since 1970-01-01 UTC. */
  write(nowMs: number): void {
    const out = this.#builder;
    out.beginRecord(nowMs);
    const { writer } = out;
    out.beginKey();
    writer.raw(this.#frames.key);
    writer.text(this.#prefix);
    out.endKey();
    out.beginValue();
    writer.raw(this.#frames.value);
    writer.long(nowMs);
    out.endValue();
    out.endRecord();
  }
}
