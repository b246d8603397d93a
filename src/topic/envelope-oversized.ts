// Owns what becomes of a change whose record its topic does not take: the policies, what they need, and the
// words for it. Knows neither how a record is written nor where a claim is kept.
import type { Cells } from '../change/row.ts';
import { CELL_UNCHANGED, CELL_VALUE } from '../change/row.ts';
import { VarveError } from '../errors.ts';
import type { RecordBatchBuilder } from './record-batch.ts';

export type OversizedPolicy = 'stop' | 'key_only' | 'claim_check' | 'dead_letter';

/** Where values go that their topics do not take. */
export type ClaimStore = {
  /** Where `put` keeps the value of this name, as a consumer finds it. */
  locate(name: string): string;
  /** Resolves when it is durable. The same name again replaces what is there. */
  put(name: string, value: Uint8Array): Promise<void>;
};

/** A table's policy, with what it needs. */
export type OversizedRule =
  | { policy: 'stop' | 'key_only' }
  /** Takes the whole value, and vows that it is durable before the record is; returns where. */
  | { policy: 'claim_check'; claim: (name: string, value: Uint8Array) => string }
  /** Builder of the dead letters' topic. */
  | { policy: 'dead_letter'; grave: RecordBatchBuilder };

/** Told for counting and logging: no row value, no key. */
export type OversizedNotice = { topic: string; policy: OversizedPolicy; bytes: number; limit: number };

export type Size = { bytes: number; limit: number };

/** Facts of a `record_too_large`; null for anything else. */
export const sizeOf = (thrown: unknown): Size | null =>
  thrown instanceof VarveError && thrown.kind === 'record_too_large'
    ? { bytes: Number(thrown.facts.bytes), limit: Number(thrown.facts.limit) }
    : null;

/** The row with only its key columns; all others read as not sent. */
export const keyOnly = (cells: Cells, key: readonly number[]): Cells => {
  const kind = new Uint8Array(cells.kind.length).fill(CELL_UNCHANGED);
  for (const column of key) kind[column] = cells.kind[column] ?? CELL_VALUE;
  return { ...cells, kind };
};

const utf8 = new TextEncoder();

export const OVERSIZED_HEADER = utf8.encode('varve.oversized');
export const CLAIM_HEADER = utf8.encode('varve.claim');

/** `columns`: JSON texts of the names of the columns whose values the record does not have. */
export const oversizedText = ({ bytes, limit }: Size, columns: readonly string[]): Uint8Array =>
  utf8.encode(`{"bytes":${bytes},"limit":${limit},"columns":[${columns.join(',')}]}`);

export const claimText = (location: string, { length }: Uint8Array): Uint8Array =>
  utf8.encode(JSON.stringify({ location, bytes: length }));

type Refused = Size & { topic: string; key: string | null };

/** Stops: nothing of the change was published. The key is named, because somebody has to find the row. */
export const recordTooLarge = ({ topic, key, bytes, limit }: Refused, cause: unknown): VarveError =>
  new VarveError(
    'record_too_large',
    `A change on ${topic} ${key === null ? 'of a table without key' : `with the key ${key}`} makes a ` +
      `record of ${bytes} bytes; the topic takes ${limit}. Nothing is published past it. Let the topic ` +
      'take more (in Kafka, max.message.bytes), leave the column out, or say what becomes of such records: ' +
      'topic.oversized key_only, claim_check or dead_letter.',
    { facts: { topic, key, bytes, limit }, cause },
  );
