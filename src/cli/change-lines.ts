// Owns a topic's records as people read them: decoded, columns under their own names, what was not sent left
// out.
import { VarveError } from '../errors.ts';
import { compileReader, FRAME_LENGTH, readSchemaId } from '../topic/avro-read.ts';
import { codecById } from '../topic/compression.ts';
import type { Feed, FeedBatch } from '../topic/feed.ts';
import { readRecords } from '../topic/record-batch.ts';
import type { RecordView } from '../topic/record-batch-view.ts';
import type { SchemaRecord } from '../topic/state.ts';
import { type Printable, printable } from './printable.ts';

type ChangeLine = {
  offset: number;
  order: string;
  op: string;
  /** Commit time at the source, ISO. */
  at: string;
  before: Printable;
  after: Printable;
  /** Columns that the source did not send, because they did not change. */
  unchanged: readonly string[];
  /** Columns whose values the topic did not take. */
  oversized: readonly string[];
};

type Row = Record<string, Parameters<typeof printable>[0]>;
type Envelope = { before: Row | null; after: Row | null; op: string; source: { ts_us: bigint } };
type Headers = {
  unchanged: readonly string[];
  oversized: readonly string[];
  texts: Readonly<Record<string, string>>;
};

const text = new TextDecoder('utf-8', { ignoreBOM: true });

const readHeaders = (view: RecordView): Headers => {
  const json = (name: string, empty: string): unknown => {
    const value = view.header(name);
    return JSON.parse(value === null ? empty : text.decode(value));
  };
  return {
    unchanged: json('varve.unchanged', '[]') as string[],
    oversized: (json('varve.oversized', '{"columns":[]}') as { columns: string[] }).columns,
    texts: json('varve.text', '{}') as Headers['texts'],
  };
};

const showRow = (
  row: Row | null,
  { columns, fields }: SchemaRecord,
  { unchanged, oversized, texts }: Headers,
): Printable => {
  if (row === null) return null;
  const shown = columns.map(({ name, type }, at): [string, Printable][] => {
    if (unchanged.includes(name) || oversized.includes(name)) return [];
    // A column may be called constructor: only what the object itself holds counts.
    const text = Object.hasOwn(texts, name) ? texts[name] : undefined;
    return [[name, text ?? printable(row[fields[at] ?? ''] ?? null, type)]];
  });
  return Object.fromEntries(shown.flat());
};

export class ChangeLines {
  readonly #feed: Feed;
  readonly #topic: string;
  readonly #readers = new Map<number, Promise<(bytes: Uint8Array) => Envelope>>();

  constructor(feed: Feed, topic: string) {
    this.#feed = feed;
    this.#topic = topic;
  }

  /** Lines of the records at or above `from`, in order; tombstones have none. Throws `schema_unknown`. */
  async read({ batches }: FeedBatch, from: bigint, schemas: readonly SchemaRecord[]): Promise<ChangeLine[]> {
    const lines: Promise<ChangeLine>[] = [];
    const visit = (view: RecordView): void => {
      if (view.valueStart >= 0 && BigInt(view.offset) >= from) lines.push(this.#line(view, schemas));
    };
    for (const batch of batches) readRecords(batch, visit, { codec: codecById });
    return Promise.all(lines);
  }

  // The view is a flyweight: everything is taken from it before the first wait.
  async #line(view: RecordView, schemas: readonly SchemaRecord[]): Promise<ChangeLine> {
    const { offset } = view;
    const order = text.decode(view.header('varve.order') ?? undefined);
    const headers = readHeaders(view);
    const value = view.bytes.subarray(view.valueStart, view.valueEnd);
    const id = readSchemaId(value, 0, value.length);
    const schema = schemas.findLast((record) => record.valueId === id && record.first <= order);
    if (schema === undefined) {
      throw new VarveError(
        'schema_unknown',
        `${this.#topic} has a record of schema ${id}, which no state record names.`,
      );
    }
    const { op, before, after, source } = (await this.#reader(id))(value);
    const at = new Date(Number(source.ts_us / 1000n)).toISOString();
    const [old, now] = [showRow(before, schema, headers), showRow(after, schema, headers)];
    const { unchanged, oversized } = headers;
    return { offset, order, op, at, before: old, after: now, unchanged, oversized };
  }

  #reader(id: number): Promise<(bytes: Uint8Array) => Envelope> {
    const known = this.#readers.get(id);
    if (known !== undefined) return known;
    const made = this.#feed.schema(id).then((schema) => {
      const read = compileReader(schema);
      return (bytes: Uint8Array) => read(bytes, FRAME_LENGTH, bytes.length) as unknown as Envelope;
    });
    this.#readers.set(id, made);
    return made;
  }
}
