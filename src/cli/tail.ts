// Owns `varve tail`: a table's changes as they stand in the topic, from the beginning, the end, or an ORDER.
import { isOrder } from '../change/order.ts';
import { VarveError } from '../errors.ts';
import { schemaRecords } from '../sinks/fold.ts';
import type { Feed } from '../topic/feed.ts';
import { ChangeLines } from './change-lines.ts';
import { argument, type Command, type Context, readPipeline } from './command.ts';
import { openFeed } from './open-topic.ts';
import { tableTopic } from './table-topic.ts';

const READ_BYTES = 1 << 20;

type Tail = { feed: Feed; topic: string; from: string };

/**
 * Prints from `from` on; with --follow it waits for more, else it ends at the end. Order holds within a key:
 * a topic of several partitions has no other.
 */
const follow = async (
  { output, flags }: Context,
  { feed, topic, from }: Tail,
  signal: AbortSignal,
): Promise<void> => {
  const lines = new ChangeLines(feed, topic);
  const next = new Map<number, bigint>();
  for (let partition = 0; partition < (await feed.partitions(topic)); partition++) {
    const { start, end } = await feed.ends(topic, partition);
    next.set(partition, from === 'end' ? end : start);
  }
  while (!signal.aborted) {
    let isAtEnd = true;
    for (const [partition, offset] of next) {
      const batch = await feed.read(topic, partition, { from: offset, maxBytes: READ_BYTES });
      for (const line of await lines.read(batch, offset, schemaRecords(await feed.state(), topic))) {
        if (isOrder(from) && line.order < from) continue;
        const row = JSON.stringify(line.after ?? line.before);
        output.result(line, `${output.dim(line.at)}  ${line.op}  ${row}  ${output.dim(line.order)}`);
      }
      isAtEnd &&= batch.nextOffset === offset;
      next.set(partition, batch.nextOffset);
    }
    if (!isAtEnd) continue;
    // From the end there is nothing but what comes.
    if (flags.follow !== true && from !== 'end') return;
    await feed.changed(1000, signal);
  }
};

export const tail: Command = {
  name: 'tail',
  usage: 'tail FILE TABLE [--from beginning|end|ORDER] [--follow]',
  summary: "shows a table's changes as they stand in the topic",
  options: { from: { type: 'string' }, follow: { type: 'boolean' } },
  async run(context) {
    const config = await readPipeline(context, argument(context, 0));
    const from = String(context.flags.from ?? 'beginning');
    if (from !== 'beginning' && from !== 'end' && !isOrder(from)) {
      throw new VarveError('usage', `--from is beginning, end or an ORDER as tail prints it, not ${from}.`);
    }
    const feed = await openFeed(context, config);
    const stop = new AbortController();
    process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort());
    try {
      const topic = await tableTopic(feed, config, argument(context, 1));
      await follow(context, { feed, topic, from }, stop.signal);
      return 0;
    } finally {
      await feed.close();
    }
  },
};
