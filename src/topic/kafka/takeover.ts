// Owns becoming the one writer of a prefix, and telling a successor from an echo of ourselves: a coordinator
// that starts anew has forgotten which producer asked for its newest epoch, and then calls that one fenced.
import { asVarveError } from '../../errors.ts';
import type { KafkaClient } from './client.ts';
import { scanLog } from './log-scan.ts';
import type { KafkaProducer } from './producer.ts';
import { stateTopic } from './state-topic.ts';

/**
 * Throws `fenced` when another instance has taken over. Without a sign of another one, and if the newest
 * epoch may be our own, it is taken again; whoever had it without having written is fenced by that.
 */
export const takeOver = async (
  producer: KafkaProducer,
  client: KafkaClient,
  prefix: string,
): Promise<void> => {
  const own = producer.identity;
  try {
    await producer.begin();
  } catch (thrown) {
    if (asVarveError(thrown).kind !== 'fenced' || !producer.isUnsure) throw thrown;
    const { batches } = await scanLog(client, { topic: stateTopic(prefix), partition: 0 });
    const last = batches.at(-1);
    if (last && (last.producerId !== own.id || last.epoch > own.epoch)) throw thrown;
    await producer.begin();
  }
};
