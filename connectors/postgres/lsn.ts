// Owns PostgreSQL's log positions (LSN): unsigned 64 bits, said as `X/Y` in hexadecimal halves without
// leading zeros. That one text is the resume point of this connector. Knows nothing of connections.
import { VarveError } from '../../src/errors.ts';

const SHAPE = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i;

/**
 * Throws `state_corrupt` for anything that is not an LSN: such a text can only come from a damaged record.
 */
export const parseLsn = (text: string): bigint => {
  const halves = SHAPE.exec(text);
  if (halves) return (BigInt(`0x${halves[1]}`) << 32n) | BigInt(`0x${halves[2]}`);
  throw new VarveError(
    'state_corrupt',
    `${JSON.stringify(text.slice(0, 40))} is not a PostgreSQL log position.`,
  );
};

/** Upper case, no leading zeros: as `pg_lsn` prints it, so that equal positions are equal texts. */
export const formatLsn = (lsn: bigint): string =>
  `${(lsn >> 32n).toString(16)}/${(lsn & 0xffff_ffffn).toString(16)}`.toUpperCase();
