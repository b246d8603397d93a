// Owns cuts of the line between a client and its brokers at a chosen request: before it went out, while it is
// under way, or behind its answer, which is then lost. All three look the same from here: nobody knows
// whether the broker heard it. Knows no transaction.
import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaClient } from '../../src/topic/kafka/client.ts';
import { unreachable } from '../../src/topic/kafka/errors.ts';

/** Keys of the calls that a transaction is made of, and of the one that begins a producer. */
export const API = { produce: 0, initProducerId: 22, addPartitions: 24, endTransaction: 26 } as const;

export type Cut = 'unsent' | 'under_way' | 'answered';

type Cutter = {
  /** Decides for every request; null lets it pass. Waits as long as a promise does. */
  plan: (key: number) => Cut | null | Promise<Cut | null>;
  /** Requests that went out, by key, since the cutter is there. */
  readonly sent: Map<number, number>;
  cuts: number;
};

/** From now on every request of the client goes past the plan, which may be exchanged. */
export const cutLine = (client: KafkaClient, plan: Cutter['plan'] = () => null): Cutter => {
  const pass = client.request.bind(client);
  const cutter: Cutter = { plan, sent: new Map(), cuts: 0 };
  client.request = async (node, api, write) => {
    const cut = await cutter.plan(api.key);
    if (cut !== null) cutter.cuts++;
    if (cut !== 'unsent') cutter.sent.set(api.key, (cutter.sent.get(api.key) ?? 0) + 1);
    if (cut === null) return pass(node, api, write);
    if (cut !== 'unsent') {
      const answer = pass(node, api, write).catch(() => undefined);
      // The bytes are on their way; the broker may be anywhere in its work.
      await (cut === 'answered' ? answer : sleep(Math.random() * 3));
    }
    client.drop();
    throw unreachable(`The line was cut at request ${api.key}.`, true);
  };
  return cutter;
};
