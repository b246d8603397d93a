// Owns the records that the benches of single Kafka clients send: keys of 12 bytes, values of 100, which
// compress as text with some chance in it does. Knows no client.
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

export const makeKeys = (): Buffer[] =>
  Array.from({ length: DIFFERENT }, (_, at) => Buffer.from(`key-${digits(at)}`));

export const makeValues = (): Buffer[] =>
  Array.from({ length: DIFFERENT }, (_, at) => Buffer.from(makeValue(at)));
