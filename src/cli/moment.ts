// Owns how somebody says a moment on the command line: a time, an ORDER, a snapshot of a table, or now.
import { isOrder } from '../change/order.ts';
import { VarveError } from '../errors.ts';
import type { Moment } from '../sinks/parquet/engine/protocol.ts';
import { readInstant } from '../sinks/parquet/query-text.ts';
import { timestampText } from './printable.ts';

export type SaidMoment = {
  /** For people. */
  text: string;
  moment: Moment;
  /** The table as this snapshot left it; null: as it is. */
  snapshot: bigint | null;
};

export const NOW: SaidMoment = { text: 'now', moment: { kind: 'current' }, snapshot: null };

/** Throws `usage`; `flag` says where it stood. */
export const readSnapshot = (text: string, flag: string): SaidMoment => {
  if (/^\d{1,19}$/.test(text))
    return { text: `snapshot ${text}`, moment: { kind: 'current' }, snapshot: BigInt(text) };
  throw new VarveError('usage', `${flag} is the number of a table's snapshot, not ${text}.`);
};

/** A time without a zone is UTC. Throws `usage`. */
export const readMoment = (text: string, flag: string): SaidMoment => {
  if (text === 'now') return NOW;
  if (isOrder(text)) return { text, moment: { kind: 'asOf', at: { order: text } }, snapshot: null };
  const ts = readInstant(text);
  if (ts === null)
    throw new VarveError(
      'usage',
      `${flag} is a time such as 2026-01-31T12:00:00Z (without a zone: UTC), or an ORDER, not ${text}.`,
    );
  return { text: `${timestampText(ts)}Z`, moment: { kind: 'asOf', at: { ts } }, snapshot: null };
};

/** Where a snapshot's number will do as well. Throws `usage`. */
export const readAnyMoment = (text: string, flag: string): SaidMoment =>
  /^\d+$/.test(text) ? readSnapshot(text, flag) : readMoment(text, flag);
