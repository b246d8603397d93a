// Owns the OrderKey: the one total order of everything that Varve carries. Knows no database, no clock.
// ORDER is one ASCII string that sorts in every engine: eeeeeeee.pppppppppppppppppppppppp.f.oooooooooooo
// (hex).

/** 48 ASCII characters, lower-case hexadecimal with dots; compares with `<` on the string itself. */
export type Order = string;

/** 0: let in before its position's transaction (snapshot rows), 1: streamed, 2: let in after it. */
type Phase = 0 | 1 | 2;

export type OrderParts = {
  /** u32 from 1; raised only by a durable state record written before its first event. */
  epoch: number;
  /** Unsigned, at most 96 bits; the connector's commit position, known when a transaction begins. */
  position: bigint;
  phase: Phase;
  /** Unsigned, at most 48 bits; counts every event of the transaction, before any filter. */
  ordinal: number;
};

const LAST_ORDINAL = 0xffff_ffff_ffff;
const LAST_POSITION = (1n << 96n) - 1n;

const SHAPE = /^[0-9a-f]{8}\.[0-9a-f]{24}\.[012]\.[0-9a-f]{12}$/;
const hex = (value: number | bigint, width: number): string => value.toString(16).padStart(width, '0');

/** The text that all events of one transaction share: epoch, position and phase, with the last dot. */
export const orderPrefix = ({ epoch, position, phase }: Omit<OrderParts, 'ordinal'>): string =>
  `${hex(epoch, 8)}.${hex(position, 24)}.${phase}.`;

export const formatOrder = (parts: OrderParts): Order => orderPrefix(parts) + hex(parts.ordinal, 12);

/** At or after every event of a transaction, and before every later one. */
export const endOfTransaction = (parts: Omit<OrderParts, 'ordinal'>): Order =>
  formatOrder({ ...parts, ordinal: LAST_ORDINAL });

export const isOrder = (text: string): boolean => SHAPE.test(text);

/** Throws a RangeError on anything that `formatOrder` could not have written. */
export const parseOrder = (text: Order): OrderParts => {
  if (!SHAPE.test(text)) throw new RangeError(`not an order: ${JSON.stringify(text)}`);
  return {
    epoch: Number.parseInt(text.slice(0, 8), 16),
    position: BigInt(`0x${text.slice(9, 33)}`),
    phase: Number(text[34]) as Phase,
    ordinal: Number.parseInt(text.slice(36), 16),
  };
};

/**
 * Identity of the source transaction: (epoch, position, phase). Events that share it became visible at once.
 */
export const transactionOf = (order: Order): string => order.slice(0, 35);

/** Whether a transaction's events are rows of a snapshot: of each key one, however often it is told. */
export const isSnapshotTransaction = (transaction: string): boolean => transaction.endsWith('.0');

/**
 * At or after every event of all transactions before this order's, and before its own first one; null: there
 * can be none before.
 */
export const endBefore = (order: Order): Order | null => {
  const { epoch, position, phase } = parseOrder(order);
  if (phase === 2) return endOfTransaction({ epoch, position, phase: 1 });
  if (phase === 1) return endOfTransaction({ epoch, position, phase: 0 });
  if (position > 0n) return endOfTransaction({ epoch, position: position - 1n, phase: 2 });
  return epoch > 0 ? endOfTransaction({ epoch: epoch - 1, position: LAST_POSITION, phase: 2 }) : null;
};
