// Owns changes whose schema the registry refuses: they wait in a topic of their own, whole and in order, and
// go on to their topic when the registry takes the schema. Knows no source and no encoding.
//   topic:   .. old schema ..|                 |.. what waited ..|.. new changes ..
//   parked:                  |.. new schema .. |
//                         blocked            freed, at a start
import type { Order } from '../change/order.ts';
import type { TableName } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import { crc32c } from './crc32c.ts';
import type { Feed } from './feed.ts';
import type { AtomicWrite, Publisher, Slice, StateRecord } from './publisher.ts';
import { AT, CODEC, readBatchHeader } from './record-batch-header.ts';
import { SchemaHistory, type SchemaShape } from './schema-history.ts';
import { printState, readState, STATE_KEYS } from './state.ts';
import { type SubjectStrategy, subjectName } from './subject.ts';

/** A schema that waits, and the order of the first change that has it. */
type ParkedSchema = SchemaShape & { first: Order };

/** `schemas`: none, the table is not blocked; `moved`: by partition, what of the parked topic went on. */
type ParkedRecord = {
  table: TableName;
  reason: string;
  schemas: ParkedSchema[];
  moved: Readonly<Record<string, string>>;
};

/** Texts of a table's schemas, its key's null where it has none. */
type SchemaTexts = { keySchema: string | null; valueSchema: string };

export const registerSchemas = async (
  publisher: Publisher,
  { topic, subjects }: { topic: string; subjects: SubjectStrategy },
  { keySchema, valueSchema }: SchemaTexts,
): Promise<{ keyId: number | null; valueId: number }> => {
  const register = (part: 'key' | 'value', schema: string): Promise<number> =>
    publisher.registerSchema(subjectName(subjects, { topic, part, schema }), schema);
  return {
    keyId: keySchema === null ? null : await register('key', keySchema),
    valueId: await register('value', valueSchema),
  };
};

const parkedTopic = (prefix: string, topic: string): string =>
  `${prefix}.varve.parked.${topic.slice(prefix.length + 1)}`;

const readParked = (state: ReadonlyMap<string, string>, topic: string): ParkedRecord | null =>
  readState<ParkedRecord>(state, STATE_KEYS.parked(topic));

/** Why the topic's changes wait; null: they do not. */
export const blockedBy = (state: ReadonlyMap<string, string>, topic: string): string | null => {
  const record = readParked(state, topic);
  return record === null || record.schemas.length === 0 ? null : record.reason;
};

/** Events of the topic from this order on wait elsewhere; null: none do. */
export const parkedFrom = (state: ReadonlyMap<string, string>, topic: string): Order | null =>
  readParked(state, topic)?.schemas[0]?.first ?? null;

export type Parking = {
  topic: string;
  texts: SchemaTexts;
  shape: Omit<SchemaShape, 'keyId' | 'valueId'>;
  first: Order;
};

export type Parked = { topic: string; keyId: number | null; valueId: number; state: StateRecord | null };

export class ParkingPlace {
  readonly #publisher: Publisher;
  readonly #prefix: string;
  readonly #records = new Map<string, ParkedRecord>();

  constructor(publisher: Publisher, prefix: string) {
    this.#publisher = publisher;
    this.#prefix = prefix;
    for (const key of publisher.state().keys()) {
      const topic = key.startsWith(STATE_KEYS.parked('')) ? key.slice(STATE_KEYS.parked('').length) : null;
      const record = topic === null ? null : readParked(publisher.state(), topic);
      if (topic !== null && record !== null) this.#records.set(topic, record);
    }
  }

  /** Changes of it wait: later ones have to wait behind them, whatever their schema. */
  isBlocked(topic: string): boolean {
    return (this.#records.get(topic)?.schemas.length ?? 0) > 0;
  }

  /**
   * Makes the place ready. Its schemas are registered under subjects that nobody has used: a parked change
   * may be as incompatible with the one before it.
   */
  async park({ topic, texts, shape, first }: Parking, reason: string): Promise<Parked> {
    const place = parkedTopic(this.#prefix, topic);
    const ensured = await this.#publisher.ensureTopic(place, { partitions: shape.partitions ?? 1 });
    if (ensured.partitions !== (shape.partitions ?? 1))
      throw new VarveError(
        'topic_unfit',
        `${place} has ${ensured.partitions} partitions and ${topic} has ${shape.partitions}: what waits ` +
          'could not go on in order. Delete it if it is empty.',
        { facts: { topic: place, partitions: ensured.partitions } },
      );
    const known = this.#records.get(topic) ?? { table: shape.table, reason, schemas: [], moved: {} };
    const newest = known.schemas.at(-1);
    const unused = { topic: `${place}-${first}`, subjects: 'topic_name' } as const;
    const ids = await registerSchemas(this.#publisher, unused, texts);
    if (newest?.keyId === ids.keyId && newest.valueId === ids.valueId)
      return { topic: place, ...ids, state: null };
    const schemas = [...known.schemas, { ...shape, ...ids, first }];
    const record: ParkedRecord = { ...known, reason: newest === undefined ? reason : known.reason, schemas };
    this.#records.set(topic, record);
    return { topic: place, ...ids, state: { key: STATE_KEYS.parked(topic), value: printState(record) } };
  }
}

/** The batch as it was before a broker placed and stamped it. */
const asNew = (placed: Uint8Array): { batch: Uint8Array; records: number } => {
  const { records, attributes } = readBatchHeader(placed);
  const batch = placed.slice();
  const view = new DataView(batch.buffer);
  view.setBigInt64(AT.baseOffset, 0n);
  view.setInt32(AT.leaderEpoch, -1);
  view.setInt16(AT.attributes, attributes & CODEC);
  view.setBigInt64(AT.producerId, -1n);
  view.setInt16(AT.producerEpoch, -1);
  view.setInt32(AT.baseSequence, -1);
  view.setUint32(AT.crc, crc32c(batch, AT.attributes));
  return { batch, records };
};

const MOVE_BYTES = 4 << 20;

type Moving = { publisher: Publisher; feed: Feed; prefix: string; subjects: SubjectStrategy };

/** True: the registry takes every schema that waits, under the ids that the waiting records carry. */
const isTaken = async (moving: Moving, topic: string, record: ParkedRecord): Promise<boolean> => {
  const { publisher, feed, subjects } = moving;
  for (const { keyId, valueId } of record.schemas) {
    const keySchema = keyId === null ? null : await feed.schema(keyId);
    const texts = { keySchema, valueSchema: await feed.schema(valueId) };
    const ids = await registerSchemas(publisher, { topic, subjects }, texts).catch((thrown: unknown) => {
      if (thrown instanceof VarveError && thrown.kind === 'schema_incompatible') return null;
      throw thrown;
    });
    if (ids === null) return false;
    if (ids.keyId === keyId && ids.valueId === valueId) continue;
    throw new VarveError(
      'schema_incompatible',
      `The registry gives the schemas of ${topic} other ids (${ids.keyId}, ${ids.valueId}) than the ` +
        `changes that wait have (${keyId}, ${valueId}), so these cannot go on as they are.`,
      { facts: { topic, keyId, valueId } },
    );
  }
  return true;
};

/** All that waits goes to its topic, each step with its place in one atomic write. */
const move = async (
  { publisher, feed, prefix }: Moving,
  topic: string,
  record: ParkedRecord,
): Promise<void> => {
  const place = parkedTopic(prefix, topic);
  const history = new SchemaHistory(publisher.state());
  const key = STATE_KEYS.parked(topic);
  const moved: Record<string, string> = { ...record.moved };
  let state = record.schemas.flatMap(({ first, ...shape }) => history.next(topic, shape, first) ?? []);
  const write = async (slices: Slice[], rest: ParkedRecord): Promise<void> => {
    const all: AtomicWrite = { slices, state: [...state, { key, value: printState(rest) }] };
    state = [];
    await publisher.write(all);
  };
  for (let partition = 0; partition < (await feed.partitions(place)); partition++) {
    const { end, start } = await feed.ends(place, partition);
    for (let from = BigInt(moved[partition] ?? start); from < end; ) {
      const { batches, nextOffset } = await feed.read(place, partition, { from, maxBytes: MOVE_BYTES });
      from = nextOffset;
      moved[partition] = nextOffset.toString();
      await write(
        batches.map((batch) => ({ topic, partition, ...asNew(batch) })),
        { ...record, moved },
      );
    }
  }
  await write([], { ...record, schemas: [], moved });
};

type Blocked = { topic: string; parked: string; reason: string };

/**
 * Frees every table whose schemas the registry takes by now; the topics of those that stay blocked are
 * returned, each with its reason. Nobody may capture meanwhile. Again after a kill, nothing goes on twice.
 */
export const freeParked = async (moving: Moving): Promise<Blocked[]> => {
  const { publisher, prefix } = moving;
  const blocked: Blocked[] = [];
  for (const key of [...publisher.state().keys()]) {
    if (!key.startsWith(STATE_KEYS.parked(''))) continue;
    const topic = key.slice(STATE_KEYS.parked('').length);
    const record = readParked(publisher.state(), topic);
    if (record === null || record.schemas.length === 0) continue;
    const { partitions } = record.schemas[0] ?? {};
    await publisher.ensureTopic(topic, { partitions: partitions ?? 1 });
    if (await isTaken(moving, topic, record)) await move(moving, topic, record);
    else blocked.push({ topic, parked: parkedTopic(prefix, topic), reason: record.reason });
  }
  return blocked;
};
