// Owns what the benches of single Kafka clients send: keys of 12 bytes, values of 100 that compress as text
// with some chance in it does, in transactions with a state record. Knows no client.
import { createHash } from 'node:crypto';

export const KEY_BYTES = 12;
export const VALUE_BYTES = 100;
/** So many different ones, again and again: making them is not what is measured. */
const DIFFERENT = 20_000;

const digits = (number: number): string => String(number).padStart(8, '0');

const makeValue = (at: number): string => {
  const chance = createHash('sha256').update(String(at)).digest('hex');
  return `order ${digits(at)} of customer ${digits(at % 500)}: ${chance}`
    .padEnd(VALUE_BYTES, '.')
    .slice(0, 100);
};

export const makeValues = (): Buffer[] =>
  Array.from({ length: DIFFERENT }, (_, at) => Buffer.from(makeValue(at)));

/** Of the record with this number. */
type Records = { keyAt: (at: number) => Buffer; valueAt: (at: number) => Buffer };

export const makeRecords = (): Records => {
  const keys = Array.from({ length: DIFFERENT }, (_, at) => Buffer.from(`key-${digits(at)}`));
  const values = makeValues();
  return {
    keyAt: (at) => keys[at % DIFFERENT] as Buffer,
    valueAt: (at) => values[at % DIFFERENT] as Buffer,
  };
};

export type TransactionPlan = {
  brokers: readonly string[];
  prefix: string;
  recordsPerTransaction: number;
  records: Records;
};

/** One client's way of writing a transaction: its records, and the state that goes with them. */
export type TransactionWriter = {
  /** That may be under way: one is being committed, one waits, where the client can. */
  window: number;
  write(transaction: number): Promise<void>;
  /** Throws when the transactions were other ones than asked for. */
  close(transactions: number): Promise<void>;
};

export const topicsOf = (prefix: string): { topic: string; stateTopic: string } => ({
  topic: `${prefix}.records`,
  stateTopic: `${prefix}.varve.state`,
});

export const stateOf = (transaction: number): string => JSON.stringify({ resume: transaction });
