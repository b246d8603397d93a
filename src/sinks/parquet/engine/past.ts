// Owns the question whether events come after everything that the table knows of their keys. Knows no key.
import { isSnapshotTransaction, transactionOf } from '../../../change/order.ts';
import type { MergeRequest } from './protocol.ts';

type Place = { transaction: string; ts: bigint; partition: number };

export class Past {
  readonly #isEmpty: boolean;
  readonly #highs: ReadonlyMap<number, { transaction: string; ts: bigint }>;
  /** Of the barriers: the highest transaction, the latest time. */
  #transaction = '';
  #ts: bigint | null = null;
  readonly #floor: string;

  constructor({ data, state, highs, barriers, horizon }: MergeRequest) {
    this.#isEmpty = data.length === 0 && state.length === 0;
    this.#highs = new Map(
      [...highs].map(([partition, { order, ts }]) => [partition, { transaction: transactionOf(order), ts }]),
    );
    for (const { order, ts } of barriers) {
      const transaction = transactionOf(order);
      if (transaction > this.#transaction) this.#transaction = transaction;
      if (this.#ts === null || ts > this.#ts) this.#ts = ts;
    }
    this.#floor = horizon === null ? '' : transactionOf(horizon);
  }

  /**
   * Whether nothing that the table knows of a key lies at or after this place: all earlier events of a key
   * came through its partition, so what is above that partition's highest order and time, and above every
   * barrier, has nothing of its key behind it.
   */
  isBehind({ transaction, ts, partition }: Place): boolean {
    if (this.#isEmpty) return true;
    const high = this.#highs.get(partition);
    if (high === undefined || ts < high.ts) return false;
    // A snapshot goes on from one merge to the next: what the table has of it are rows of other keys.
    const isNext = transaction === high.transaction && isSnapshotTransaction(transaction);
    const isAbove = isNext || transaction > high.transaction;
    return isAbove && transaction > this.#transaction && (this.#ts === null || ts >= this.#ts);
  }

  /** The same, and no barrier or horizon has a say either: a key's open row is all there is to look at. */
  isOver(place: Place): boolean {
    const { transaction } = place;
    return transaction > this.#transaction && transaction > this.#floor && this.isBehind(place);
  }
}
