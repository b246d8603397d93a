// Owns Debezium's change event on the wire: key, value, tombstone and headers of one table's changes, written
// straight from cells into a record batch. Knows neither where cells come from nor where the batch goes.
import type { Cells } from '../change/row.ts';
import { type ConnectType, tableText } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import { avroSchema } from './avro-schema.ts';
import { ByteWriter } from './byte-writer.ts';
import type { Change } from './envelope-change.ts';
import { compileKeyText } from './envelope-key-text.ts';
import { RowEncoder } from './envelope-row.ts';
import { envelopeType, keyType } from './envelope-schema.ts';
import { fieldNames, recordName, topicName } from './naming.ts';
import type { PreparedTable, SourceBlock, SourceFacts } from './prepared-table.ts';
import type { RecordBatchBuilder } from './record-batch.ts';

type PreparedEnvelope = {
  readonly table: PreparedTable;
  readonly source: SourceBlock;
  readonly topic: string;
  readonly keyType: ConnectType | null;
  /** Avro schema texts; the key's is null for a table without key. */
  readonly keySchema: string | null;
  readonly valueSchema: string;
  /** Avro field names, one a column. */
  readonly fields: string[];
  readonly keySubject: string;
  readonly valueSubject: string;
};

type EnvelopeParts = { prefix: string; table: PreparedTable; source: SourceBlock };

/** Names and schemas of a table's records. Throws `name_collision` when two columns share a field name. */
export const prepareEnvelope = ({ prefix, table, source }: EnvelopeParts): PreparedEnvelope => {
  const { schema } = table;
  const topic = topicName(prefix, schema.name);
  const fields = fieldNames(schema.name, schema.columns);
  const names = { record: recordName(topic), fields };
  const key = keyType(schema, names);
  return {
    table,
    source,
    topic,
    keyType: key,
    keySchema: key === null ? null : avroSchema(key),
    valueSchema: avroSchema(envelopeType(schema, names, source.type)),
    fields,
    keySubject: `${topic}-key`,
    valueSubject: `${topic}-value`,
  };
};

const utf8 = new TextEncoder();
const HEADER = {
  unchanged: utf8.encode('varve.unchanged'),
  text: utf8.encode('varve.text'),
  newKey: utf8.encode('__debezium.newkey'),
  oldKey: utf8.encode('__debezium.oldkey'),
} as const;

/** Confluent wire format: a zero byte, the schema id big-endian, then Avro. */
const frameOf = (id: number): Uint8Array => {
  const frame = new Uint8Array(5);
  new DataView(frame.buffer).setInt32(1, id);
  return frame;
};

const NULL_BRANCH = 0;
const VALUE_BRANCH = 2;
const OP_LENGTH = 2;

/** A header that says with which key a row goes on, or from which it came. */
type KeyLink = { name: Uint8Array; value: Uint8Array };

/** Which half of a changed key a record is: the old key's delete or the new key's create. */
type Half = { part: 'whole' | 'old' | 'new'; link: KeyLink | null };

const WHOLE: Half = { part: 'whole', link: null };

type EnvelopeIds = { keyId: number | null; valueId: number };

type EnvelopeOptions = {
  /** A record with the key and a null value after each delete; on by default. */
  tombstones?: boolean;
};

/** Writes one table's changes. One writer a schema: a new schema needs new ids and a new writer. */
export class EnvelopeWriter {
  readonly #rows: RowEncoder;
  readonly #source: SourceBlock;
  readonly #facts: SourceFacts;
  readonly #keyFrame: Uint8Array | null;
  readonly #valueFrame: Uint8Array;
  readonly #tombstones: boolean;
  readonly #keyText: ((key: Uint8Array) => string) | null;
  /** Old image that `after` may be completed from. */
  readonly #old: { cells: Cells | null; isKey: boolean } = { cells: null, isKey: false };
  readonly #scratch = new ByteWriter(256);

  constructor(envelope: PreparedEnvelope, ids: EnvelopeIds, { tombstones = true }: EnvelopeOptions = {}) {
    this.#rows = new RowEncoder(envelope.table);
    this.#source = envelope.source;
    this.#facts = { table: envelope.table.schema.name, snapshot: 'false', commitTs: 0n };
    this.#keyFrame = ids.keyId === null ? null : frameOf(ids.keyId);
    this.#valueFrame = frameOf(ids.valueId);
    this.#tombstones = tombstones;
    this.#keyText = envelope.keyType === null ? null : compileKeyText(envelope.keyType);
  }

  /**
   * Appends the records of one change: one; a delete and its tombstone; for a changed key both and then a
   * create, all with the change's own order, because they speak of two keys. On `null_in_required` nothing
   * was appended; after any other error no half record is left, but the old key's records of a changed key
   * may be there.
   */
  write(out: RecordBatchBuilder, change: Change): void {
    const { before, beforeIsKey, after } = change;
    if (before !== null) this.#rows.refuseNulls(before, beforeIsKey);
    if (after !== null) this.#rows.refuseNulls(after, false);
    this.#facts.snapshot = change.snapshot;
    this.#facts.commitTs = change.commitTs;
    try {
      if (change.keyChanged) this.#moveKey(out, change);
      else {
        this.#value(out, change, WHOLE);
        if (change.op === 'd' && before !== null) this.#tombstone(out, change, null);
      }
    } catch (thrown) {
      out.rollbackRecord();
      throw thrown;
    }
  }

  #moveKey(out: RecordBatchBuilder, change: Change): void {
    const { before, after } = change;
    if (before === null || after === null) throw this.#incomplete('a changed key without both images');
    const toNew = { name: HEADER.newKey, value: this.#keyJson(after, before) };
    const toOld = { name: HEADER.oldKey, value: this.#keyJson(before, null) };
    this.#value(out, change, { part: 'old', link: toNew });
    this.#tombstone(out, change, toNew);
    this.#value(out, change, { part: 'new', link: toOld });
  }

  #keyJson(cells: Cells, old: Cells | null): Uint8Array {
    const scratch = this.#scratch;
    scratch.pos = 0;
    this.#rows.writeKey(scratch, cells, old);
    return utf8.encode(this.#keyText?.(scratch.bytes.subarray(0, scratch.pos)) ?? 'null');
  }

  #value(out: RecordBatchBuilder, change: Change, { part, link }: Half): void {
    const { writer } = out;
    const before = part === 'new' ? null : change.before;
    const after = part === 'old' ? null : change.after;
    const old = this.#old;
    out.beginRecord(change.nowMs);
    if (change.op === 't') out.nullKey();
    else this.#key(out, after ?? before, after === null ? null : change.before);
    out.beginValue();
    writer.raw(this.#valueFrame);
    writer.byte(before === null ? NULL_BRANCH : VALUE_BRANCH);
    old.cells = null;
    if (before !== null && change.beforeIsKey) this.#rows.writeKeyImage(writer, before);
    else if (before !== null) this.#rows.writeRow(writer, before, old);
    writer.byte(after === null ? NULL_BRANCH : VALUE_BRANCH);
    old.cells = change.before;
    old.isKey = change.beforeIsKey;
    if (after !== null) this.#rows.writeRow(writer, after, old);
    this.#source.write(writer, this.#facts);
    writer.byte(NULL_BRANCH);
    writer.byte(OP_LENGTH);
    writer.byte((part === 'whole' ? change.op : part === 'old' ? 'd' : 'c').charCodeAt(0));
    writer.append(change.clock);
    out.endValue();
    this.#headers(out, change, link);
    out.endRecord();
  }

  /** The old key's last record: with the delete's order, so that a reader may drop either. */
  #tombstone(out: RecordBatchBuilder, change: Change, link: KeyLink | null): void {
    if (!this.#tombstones) return;
    out.beginRecord(change.nowMs);
    this.#key(out, change.before, null);
    out.nullValue();
    this.#headers(out, change, link);
    out.endRecord();
  }

  #key(out: RecordBatchBuilder, cells: Cells | null, old: Cells | null): void {
    if (cells === null) throw this.#incomplete('a row change without an image');
    if (this.#keyFrame === null) {
      out.nullKey();
      return;
    }
    out.beginKey();
    out.writer.raw(this.#keyFrame);
    this.#rows.writeKey(out.writer, cells, old);
    out.endKey();
  }

  #incomplete(what: string): VarveError {
    const table = tableText(this.#facts.table);
    const sentence = `The log reader yielded ${what} for ${table}; its rows cannot be published. Report it.`;
    return new VarveError('protocol_error', sentence, { facts: { table } });
  }

  #headers(out: RecordBatchBuilder, change: Change, link: KeyLink | null): void {
    const { unchanged, texts } = this.#rows;
    const isPlain = link === null && unchanged.length === 0 && texts.length === 0;
    if (isPlain) {
      out.beginHeaders(1);
      out.writer.raw(change.orderHeader);
      return;
    }
    out.beginHeaders(1 + (link ? 1 : 0) + (unchanged.length > 0 ? 1 : 0) + (texts.length > 0 ? 1 : 0));
    if (link) out.header(link.name, link.value);
    out.writer.raw(change.orderHeader);
    if (unchanged.length > 0) out.header(HEADER.unchanged, utf8.encode(`[${unchanged.join(',')}]`));
    if (texts.length > 0) out.header(HEADER.text, utf8.encode(`{${texts.join(',')}}`));
  }
}
