// Owns opening a pipeline's topic as its file says: the writing end, of which there is one, and the reading
// end.
import type { TableName, TableSchema } from '../change/schema.ts';
import type { Config } from '../config.ts';
import { refuseForeignOwner } from '../owner.ts';
import { schemaRecords } from '../sinks/fold.ts';
import type { Feed } from '../topic/feed.ts';
import { topicName } from '../topic/naming.ts';
import type { Publisher } from '../topic/publisher.ts';
import { type Context, kindOf } from './command.ts';

/**
 * For everything that reads, also while the pipeline runs elsewhere. Throws `state_foreign` for another one's
 * topic.
 */
export const openFeed = async ({ topics }: Context, config: Config): Promise<Feed> => {
  const feed = await (await topics(config.topic.kind)).openFeed(config);
  try {
    refuseForeignOwner({ name: config.name, kind: kindOf(config), state: await feed.state() });
    return feed;
  } catch (thrown) {
    await feed.close();
    throw thrown;
  }
};

/**
 * The shape of a table as it was last published: what a log that lags behind its catalog may still speak of.
 */
export const newestSchema = (
  { topic }: Config,
  publisher: Publisher,
  table: TableName,
): TableSchema | null => {
  const record = schemaRecords(publisher.state(), topicName(topic.prefix, table)).at(-1);
  return record === undefined ? null : { name: record.table, columns: record.columns, key: record.key };
};
