// Owns reading the order of one record after the other: records of one transaction share all of it but the
// ordinal, which is all that is read anew. Knows no record.
import { isOrder, type Order, transactionOf } from '../../../change/order.ts';

const LENGTH = 48;
const TRANSACTION_LENGTH = 35;
const DOT = 0x2e;

/** By ASCII code; 16: no digit of ours. */
const DIGITS = Uint8Array.from({ length: 256 }, (_, code) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(code));
  return digit < 0 ? 16 : digit;
});
const latin1 = new TextDecoder('latin1');

export const orderOf = (transaction: string, ordinal: number): Order =>
  `${transaction}.${ordinal.toString(16).padStart(LENGTH - TRANSACTION_LENGTH - 1, '0')}`;

export const ordinalOf = (order: Order): number => Number.parseInt(order.slice(TRANSACTION_LENGTH + 1), 16);

export class OrderReader {
  /** Of the order read last, as `transactionOf` gives it. */
  transaction = '';
  ordinal = 0;
  readonly #bytes = new Uint8Array(TRANSACTION_LENGTH);

  /** The order read last, as text. */
  get order(): Order {
    return orderOf(this.transaction, this.ordinal);
  }

  /** False: this is no order. */
  read(bytes: Uint8Array | null): boolean {
    if (bytes === null || bytes.length !== LENGTH) return false;
    if (!this.#isSameTransaction(bytes)) {
      const text = latin1.decode(bytes);
      if (!isOrder(text)) return false;
      this.transaction = transactionOf(text);
      this.#bytes.set(bytes.subarray(0, TRANSACTION_LENGTH));
    }
    let ordinal = 0;
    let isWrong = bytes[TRANSACTION_LENGTH] !== DOT;
    for (let at = TRANSACTION_LENGTH + 1; at < LENGTH; at++) {
      const digit = DIGITS[bytes[at]!]!;
      isWrong ||= digit > 15;
      ordinal = ordinal * 16 + digit;
    }
    this.ordinal = ordinal;
    return !isWrong;
  }

  #isSameTransaction(bytes: Uint8Array): boolean {
    for (let at = TRANSACTION_LENGTH - 1; at >= 0; at--) if (bytes[at] !== this.#bytes[at]) return false;
    return true;
  }
}
