// Owns what the events of one transaction, read one behind the other, share, and whether it comes after all
// that the table knows of their keys. Knows no row.
import type { Order } from '../../../change/order.ts';
import { Past } from './past.ts';
import type { MergeRequest } from './protocol.ts';

type EventGroup = { transaction: string; ts: bigint; tx: string; partition: number };

export class EventGroups {
  readonly list: EventGroup[] = [];
  readonly #past: Past;
  /** By partition, the highest transaction here. */
  readonly #highest = new Map<number, string>();
  #last: EventGroup | null = null;
  #isRuled = false;

  constructor(request: MergeRequest) {
    this.#past = new Past(request);
  }

  /** At or before every event. */
  get oldest(): Order {
    let oldest = '~';
    for (const { transaction } of this.list) if (transaction < oldest) oldest = transaction;
    return oldest;
  }

  /** Whether the last group's keys need the rules, because later things of them are, or may be, known. */
  get isRuled(): boolean {
    return this.#isRuled;
  }

  /** Begins a group, unless the event that follows belongs to the last one. */
  enter(group: EventGroup): void {
    const last = this.#last;
    const isSame =
      last !== null &&
      last.transaction === group.transaction &&
      last.ts === group.ts &&
      last.tx === group.tx &&
      last.partition === group.partition;
    if (isSame) return;
    this.#last = group;
    this.list.push(group);
    const { transaction, partition } = group;
    const highest = this.#highest.get(partition) ?? '';
    if (transaction > highest) this.#highest.set(partition, transaction);
    this.#isRuled = transaction < highest || !this.#past.isOver(group);
  }
}
