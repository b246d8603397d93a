// Owns what a truncate in the topic comes to, as the table is told. Knows no record and no row.
import type { Order } from '../../../change/order.ts';
import { VarveError } from '../../../errors.ts';
import type { Barrier } from '../scd2-version.ts';
import type { MergeRules } from './protocol.ts';

export type TruncatePolicy = MergeRules['truncates'];

export class Truncates {
  /** Those that end rows. */
  readonly barriers = new Map<Order, Barrier>();
  readonly #policy: TruncatePolicy;

  constructor(policy: TruncatePolicy) {
    this.#policy = policy;
  }

  /** False: it is passed over. Throws `truncate_refused`. */
  take(order: Order, ts: bigint): boolean {
    if (this.#policy === 'ignore') return false;
    if (this.#policy === 'fail')
      throw new VarveError(
        'truncate_refused',
        `The source truncated the table at order ${order}, and on_truncate: fail stops it there: the table ` +
          'has nothing of it yet. Set on_truncate to close, which ends every row at that time, or to ' +
          'ignore, which keeps them as they are, and start again.',
        { facts: { order } },
      );
    this.barriers.set(order, { order, ts, kind: 't' });
    return true;
  }
}
