// Owns Debezium's change event on the wire: key, value, tombstone and headers of one table's changes, written
// straight from cells into a record batch. Knows neither where cells come from nor where the batch goes.
import type { Cells } from '../change/row.ts';
import { tableText } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import type { Change } from './envelope-change.ts';
import { EnvelopeKey, frameOf } from './envelope-key.ts';
import type { PreparedEnvelope } from './envelope-names.ts';
import {
  CLAIM_HEADER,
  claimText,
  keyOnly,
  OVERSIZED_HEADER,
  type OversizedNotice,
  type OversizedRule,
  oversizedText,
  recordTooLarge,
  type Size,
  sizeOf,
} from './envelope-oversized.ts';
import { RowEncoder } from './envelope-row.ts';
import type { SourceBlock, SourceFacts } from './prepared-table.ts';
import type { RecordBatchBuilder } from './record-batch.ts';

const utf8 = new TextEncoder();
const HEADER = {
  unchanged: utf8.encode('varve.unchanged'),
  text: utf8.encode('varve.text'),
  newKey: utf8.encode('__debezium.newkey'),
  oldKey: utf8.encode('__debezium.oldkey'),
  reason: utf8.encode('varve.reason'),
} as const;

const NULL_BRANCH = 0;
const VALUE_BRANCH = 2;
const OP_LENGTH = 2;
const NO_OLD = { cells: null, isKey: false };

type Header = { name: Uint8Array; value: Uint8Array };

/**
 * Which half of a changed key a record is: the old key's delete or the new key's create; `link` says with
 * which key the row goes on, or from which it came.
 */
type Half = { part: 'whole' | 'old' | 'new'; link: Header | null };

const WHOLE: Half = { part: 'whole', link: null };

/** What a record says of its row; a flyweight. */
type Images = {
  op: number;
  before: Cells | null;
  beforeIsKey: boolean;
  after: Cells | null;
  /** Old image that `after` may be completed from. */
  old: { cells: Cells | null; isKey: boolean };
};

type Refused = { change: Change; half: Half; size: Size; partition: number; cause: unknown };
type Reduced = { change: Change; links: readonly Header[]; size: Size };

type EnvelopeIds = { keyId: number | null; valueId: number };

type EnvelopeOptions = {
  /** A record with the key and a null value after each delete; on by default. */
  tombstones?: boolean;
  /** Operations that are not published. A changed key is a delete and a create. */
  skip?: readonly Change['op'][];
  /** `stop` by default. */
  oversized?: OversizedRule;
  onOversized?: (notice: OversizedNotice) => void;
};

/** Writes one table's changes. One writer a schema: a new schema needs new ids and a new writer. */
export class EnvelopeWriter {
  readonly #rows: RowEncoder;
  readonly #envelope: PreparedEnvelope;
  readonly #source: SourceBlock;
  readonly #facts: SourceFacts;
  readonly #key: EnvelopeKey;
  readonly #valueFrame: Uint8Array;
  readonly #tombstones: boolean;
  readonly #skip: ReadonlySet<string> | null;
  readonly #oversized: OversizedRule;
  readonly #onOversized: (notice: OversizedNotice) => void;
  readonly #collection: string;
  readonly #images: Images;
  /** Where the record under way goes, and its value in there; -1: not begun. */
  #out: RecordBatchBuilder | null = null;
  #valueStart = -1;
  #valueEnd = -1;

  constructor(envelope: PreparedEnvelope, ids: EnvelopeIds, options: EnvelopeOptions = {}) {
    const { tombstones = true, skip = [], oversized, onOversized } = options;
    const { name } = envelope.table.schema;
    this.#rows = new RowEncoder(envelope.table);
    this.#envelope = envelope;
    this.#source = envelope.source;
    this.#facts = { table: name, snapshot: 'false', commitTs: 0n };
    this.#key = new EnvelopeKey({ rows: this.#rows, type: envelope.keyType, id: ids.keyId });
    this.#valueFrame = frameOf(ids.valueId);
    this.#tombstones = tombstones;
    this.#skip = skip.length === 0 ? null : new Set(skip);
    this.#oversized = oversized ?? { policy: 'stop' };
    this.#onOversized = onOversized ?? (() => undefined);
    this.#collection = tableText(name);
    const old = { cells: null, isKey: false };
    this.#images = { op: 0, before: null, beforeIsKey: false, after: null, old };
  }

  /**
   * Appends the records of one change to the partitions of its keys, one builder a partition: one record; a
   * delete and its tombstone; for a changed key both and then a create, all with the change's own order,
   * because they speak of two keys; for a truncate one a partition. On `null_in_required` nothing was
   * appended; after any other error no half record is left, but the old key's records of a changed key may be
   * there.
   */
  write(partitions: readonly RecordBatchBuilder[], change: Change): void {
    const { before, beforeIsKey, after, op } = change;
    if (before !== null) this.#rows.refuseNulls(before, beforeIsKey);
    if (after !== null) this.#rows.refuseNulls(after, false);
    this.#facts.snapshot = change.snapshot;
    this.#facts.commitTs = change.commitTs;
    try {
      if (change.keyChanged) this.#moveKey(partitions, change);
      else if (this.#skip?.has(op) === true) return;
      else if (op === 't') this.#truncate(partitions, change);
      else {
        this.#row(partitions, change, WHOLE);
        if (op === 'd' && before !== null) this.#tombstone(partitions, change, null);
      }
    } catch (thrown) {
      this.#out?.rollbackRecord();
      throw thrown;
    }
  }

  #moveKey(partitions: readonly RecordBatchBuilder[], change: Change): void {
    const { before, after } = change;
    if (before === null || after === null) throw this.#incomplete('a changed key without both images');
    const toNew = { name: HEADER.newKey, value: this.#key.json(after, before) };
    const toOld = { name: HEADER.oldKey, value: this.#key.json(before, null) };
    if (this.#skip?.has('d') !== true) {
      this.#row(partitions, change, { part: 'old', link: toNew });
      this.#tombstone(partitions, change, toNew);
    }
    if (this.#skip?.has('c') !== true) this.#row(partitions, change, { part: 'new', link: toOld });
  }

  #row(partitions: readonly RecordBatchBuilder[], change: Change, half: Half): void {
    const { part } = half;
    const images = this.#images;
    images.op = (part === 'whole' ? change.op : part === 'old' ? 'd' : 'c').charCodeAt(0);
    images.before = part === 'new' ? null : change.before;
    images.beforeIsKey = change.beforeIsKey;
    images.after = part === 'old' ? null : change.after;
    images.old.cells = images.after === null ? null : change.before;
    images.old.isKey = change.beforeIsKey;
    const out = this.#route(partitions, images.after ?? images.before, images.old.cells);
    if (change.transactionId !== null) change.count(this.#collection);
    try {
      this.#record(out, change, half.link);
    } catch (thrown) {
      const size = sizeOf(thrown);
      if (size === null) throw thrown;
      this.#reduce({ change, half, size, partition: partitions.indexOf(out), cause: thrown });
    }
  }

  /** In every partition, because its rows are in all of them. */
  #truncate(partitions: readonly RecordBatchBuilder[], change: Change): void {
    const images = this.#images;
    images.op = 't'.charCodeAt(0);
    images.before = images.after = images.old.cells = null;
    this.#rows.forget();
    if (change.transactionId !== null) change.count(this.#collection);
    for (const out of partitions) {
      this.#out = out;
      this.#begin(out, change);
      out.nullKey();
      this.#value(out, change);
      this.#headers(out, change, null);
      out.endRecord();
    }
  }

  /** The builder of the key's partition. */
  #route(
    partitions: readonly RecordBatchBuilder[],
    cells: Cells | null,
    old: Cells | null,
  ): RecordBatchBuilder {
    if (cells === null) throw this.#incomplete('a row change without an image');
    const out = partitions[this.#key.route(partitions.length, cells, old)];
    if (out === undefined) throw new VarveError('internal', 'A topic without partitions was written to.');
    this.#out = out;
    return out;
  }

  #begin(out: RecordBatchBuilder, change: Change): void {
    this.#valueStart = -1;
    out.beginRecord(change.nowMs);
  }

  #record(out: RecordBatchBuilder, change: Change, link: Header | null): void {
    const { before, after, old } = this.#images;
    this.#begin(out, change);
    this.#key.write(out, (after ?? before) as Cells, old.cells);
    this.#value(out, change);
    this.#headers(out, change, link);
    out.endRecord();
  }

  /** Frame and envelope. */
  #value(out: RecordBatchBuilder, change: Change): void {
    const { op, before, beforeIsKey, after, old } = this.#images;
    out.beginValue();
    const { writer } = out;
    this.#valueStart = writer.pos;
    writer.raw(this.#valueFrame);
    writer.byte(before === null ? NULL_BRANCH : VALUE_BRANCH);
    if (before !== null && beforeIsKey) this.#rows.writeKeyImage(writer, before);
    else if (before !== null) this.#rows.writeRow(writer, before, NO_OLD);
    writer.byte(after === null ? NULL_BRANCH : VALUE_BRANCH);
    if (after !== null) this.#rows.writeRow(writer, after, old);
    this.#source.write(writer, this.#facts);
    if (change.transactionId === null) writer.byte(NULL_BRANCH);
    else {
      writer.byte(VALUE_BRANCH);
      writer.raw(change.transactionId);
      writer.long(change.totalOrder);
      writer.long(change.collectionOrder);
    }
    writer.byte(OP_LENGTH);
    writer.byte(op);
    writer.append(change.clock);
    this.#valueEnd = writer.pos;
    out.endValue();
  }

  /** The old key's last record: with the delete's order, so that a reader may drop either. */
  #tombstone(partitions: readonly RecordBatchBuilder[], change: Change, link: Header | null): void {
    if (!this.#tombstones) return;
    const out = this.#route(partitions, change.before, null);
    this.#begin(out, change);
    this.#key.write(out, change.before as Cells, null);
    out.nullValue();
    this.#headers(out, change, link);
    out.endRecord();
  }

  /**
   * What its topic does not take goes out with its key alone, or elsewhere. A delete needs no more than its
   * key, so it is never held back from its topic.
   */
  #reduce(refused: Refused): void {
    const { change, half, size } = refused;
    const { topic, table } = this.#envelope;
    const rule = this.#oversized;
    const images = this.#images;
    const { before, after, old } = images;
    const out = this.#out;
    const isBare = this.#key.isNone && (rule.policy === 'key_only' || after === null);
    if (rule.policy === 'stop' || isBare || out === null || this.#valueStart < 0)
      throw this.#refusal(refused);
    const value = out.writer.bytes.slice(this.#valueStart, this.#valueEnd);
    out.rollbackRecord();
    const links = half.link === null ? [] : [half.link];
    if (rule.policy === 'claim_check') {
      const name = `${topic}/${change.order}${half.part === 'whole' ? '' : `-${half.part}`}`;
      links.push({ name: CLAIM_HEADER, value: claimText(rule.claim(name, value), value) });
    }
    images.before = after === null ? before : null;
    images.beforeIsKey = true;
    images.after = after === null ? null : keyOnly(after, table.schema.key);
    old.isKey = true;
    try {
      if (rule.policy === 'dead_letter' && after !== null) this.#bury(rule.grave, refused);
      else this.#reduced(out, { change, links, size });
    } catch (thrown) {
      throw sizeOf(thrown) === null ? thrown : this.#refusal({ ...refused, cause: thrown });
    }
    this.#onOversized({ topic, policy: rule.policy, ...size });
  }

  #refusal({ size, cause }: Refused): VarveError {
    const { before, after, old } = this.#images;
    const cells = (after ?? before) as Cells;
    const key = this.#key.isNone ? null : new TextDecoder().decode(this.#key.json(cells, old.cells));
    return recordTooLarge({ ...size, topic: this.#envelope.topic, key }, cause);
  }

  #reduced(out: RecordBatchBuilder, { change, links, size }: Reduced): void {
    const { before, after, old } = this.#images;
    this.#begin(out, change);
    this.#key.write(out, (after ?? before) as Cells, old.cells);
    this.#value(out, change);
    const { unchanged, texts } = this.#rows;
    const headers = [...links];
    headers.push({ name: OVERSIZED_HEADER, value: oversizedText(size, after === null ? [] : unchanged) });
    if (texts.length > 0) headers.push({ name: HEADER.text, value: utf8.encode(`{${texts.join(',')}}`) });
    out.beginHeaders(1 + headers.length);
    out.writer.raw(change.orderHeader);
    for (const { name, value } of headers) out.header(name, value);
    out.endRecord();
  }

  /** In its own topic there is nothing in its place, so the event is not counted either. */
  #bury(grave: RecordBatchBuilder, { change, size, partition }: Refused): void {
    this.#out = grave;
    this.#begin(grave, change);
    grave.beginKey();
    grave.writer.raw(utf8.encode(`${this.#envelope.topic}/${partition}/${change.order}`));
    grave.endKey();
    this.#value(grave, change);
    grave.beginHeaders(3);
    grave.header(HEADER.reason, utf8.encode('record_too_large'));
    grave.writer.raw(change.orderHeader);
    grave.header(OVERSIZED_HEADER, oversizedText(size, this.#rows.unchanged));
    grave.endRecord();
    if (change.transactionId !== null) change.count(this.#collection, -1);
  }

  #incomplete(what: string): VarveError {
    const table = tableText(this.#facts.table);
    const sentence = `The log reader yielded ${what} for ${table}; its rows cannot be published. Report it.`;
    return new VarveError('protocol_error', sentence, { facts: { table } });
  }

  #headers(out: RecordBatchBuilder, change: Change, link: Header | null): void {
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
