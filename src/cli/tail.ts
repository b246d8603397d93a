// Owns `varve tail`: a table's changes as they stand in the topic, from the beginning, the end, or an ORDER.
import { isOrder } from '../change/order.ts';
import { VarveError } from '../errors.ts';
import { schemaRecords } from '../sinks/fold.ts';
import { compileReader } from '../topic/avro-read.ts';
import { codecById } from '../topic/compression.ts';
import type { Feed } from '../topic/feed.ts';
import { readRecords } from '../topic/record-batch.ts';
import type { RecordView } from '../topic/record-batch-view.ts';
import type { SchemaRecord } from '../topic/state.ts';
import { openFeed } from './assemble.ts';
import { argument, type Command, type Context, readPipeline } from './command.ts';
import { type Printable, printable } from './printable.ts';
import { tableTopic } from './table-topic.ts';

const READ_BYTES = 1 << 20;
const text = new TextDecoder();

type Envelope = { before: Row | null; after: Row | null; op: string; source: { ts_us: bigint } };
type Row = Record<string, Parameters<typeof printable>[0]>;
type Line = { offset: number; order: string; op: string; at: string; before: Printable; after: Printable };

const showRow = (row: Row | null, { columns, fields }: SchemaRecord): Printable => {
  if (row === null) return null;
  const values = columns.map(
    ({ name, type }, at) => [name, printable(row[fields[at] ?? ''] ?? null, type)] as const,
  );
  return Object.fromEntries(values);
};

class Tail {
  readonly #feed: Feed;
  readonly #topic: string;
  readonly #readers = new Map<number, (bytes: Uint8Array) => Envelope>();

  constructor(feed: Feed, topic: string) {
    this.#feed = feed;
    this.#topic = topic;
  }

  async #line(view: RecordView, schemas: readonly SchemaRecord[]): Promise<Line | null> {
    if (view.valueStart < 0) return null;
    const { offset } = view;
    const order = text.decode(view.header('varve.order') ?? undefined);
    const value = view.bytes.slice(view.valueStart, view.valueEnd);
    const id = new DataView(value.buffer, value.byteOffset).getUint32(1);
    let read = this.#readers.get(id);
    if (read === undefined) {
      const compiled = compileReader(await this.#feed.schema(id));
      read = (bytes) => compiled(bytes, 5, bytes.length) as unknown as Envelope;
      this.#readers.set(id, read);
    }
    const schema = schemas.findLast((record) => record.valueId === id && record.first <= order);
    if (schema === undefined)
      throw new VarveError(
        'schema_unknown',
        `${this.#topic} has a record of schema ${id}, which no state record names.`,
      );
    const { op, before, after, source } = read(value);
    const at = new Date(Number(source.ts_us / 1000n)).toISOString();
    return { offset, order, op, at, before: showRow(before, schema), after: showRow(after, schema) };
  }

  /** Prints from `from` on; `follow` waits for more, else it ends at the end. */
  async run(from: string, context: Context, signal: AbortSignal): Promise<void> {
    const { output, flags } = context;
    const { start, end } = await this.#feed.ends(this.#topic, 0);
    let offset = from === 'end' ? end : start;
    while (!signal.aborted) {
      const { batches, nextOffset } = await this.#feed.read(this.#topic, 0, offset, READ_BYTES);
      const schemas = schemaRecords(await this.#feed.state(), this.#topic);
      const views: Promise<Line | null>[] = [];
      for (const batch of batches) {
        readRecords(
          batch,
          (view) => {
            if (BigInt(view.offset) >= offset) views.push(this.#line(view, schemas));
          },
          { codec: codecById },
        );
      }
      for (const line of await Promise.all(views)) {
        if (line === null || (isOrder(from) && line.order < from)) continue;
        const shown = line.after ?? line.before;
        output.result(
          line,
          `${output.dim(line.at)}  ${line.op}  ${JSON.stringify(shown)}  ${output.dim(line.order)}`,
        );
      }
      if (nextOffset !== offset) offset = nextOffset;
      else if (flags.follow !== true) return;
      else await this.#feed.changed(1000, signal);
    }
  }
}

export const tail: Command = {
  name: 'tail',
  usage: 'tail FILE TABLE [--from beginning|end|ORDER] [--follow]',
  summary: "shows a table's changes as they stand in the topic",
  options: { from: { type: 'string' }, follow: { type: 'boolean' } },
  async run(context) {
    const config = await readPipeline(context, argument(context, 0));
    const from = String(context.flags.from ?? 'beginning');
    if (from !== 'beginning' && from !== 'end' && !isOrder(from)) {
      throw new VarveError('usage', `--from is beginning, end or an ORDER as tail prints it, not ${from}.`);
    }
    const feed = await openFeed(config);
    const stop = new AbortController();
    process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort());
    try {
      await new Tail(feed, await tableTopic(feed, config, argument(context, 1))).run(
        from,
        context,
        stop.signal,
      );
      return 0;
    } finally {
      await feed.close();
    }
  },
};
