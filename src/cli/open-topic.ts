// Owns opening a pipeline's topic as its file says: the writing end, of which there is one, and the reading
// end.
import { randomUUID } from 'node:crypto';
import { refuseForeignOwner } from '../begin.ts';
import type { TableName, TableSchema } from '../change/schema.ts';
import type { Config } from '../config.ts';
import { schemaRecords } from '../sinks/fold.ts';
import { openEmbeddedFeed } from '../topic/embedded/feed.ts';
import { findHolder } from '../topic/embedded/lock.ts';
import { openEmbeddedPublisher } from '../topic/embedded/publisher.ts';
import type { Feed } from '../topic/feed.ts';
import { topicName } from '../topic/naming.ts';
import type { Publisher } from '../topic/publisher.ts';
import { kindOf } from './command.ts';

export const HOUR_MS = 3_600_000;

/** Throws `state_locked` while another process has it. */
export const openPublisher = ({ name, topic, table }: Config, onFull: () => void): Promise<Publisher> =>
  openEmbeddedPublisher({
    path: topic.path,
    retention: { ageMs: topic.retention_hours * HOUR_MS, bytes: topic.retention_gb * 2 ** 30 },
    hold: (held) => table !== undefined && !held.startsWith(`${name}.varve.`),
    now: Date.now,
    randomId: randomUUID,
    onFull,
  });

/**
 * For everything that reads, also while the pipeline runs elsewhere. Throws `state_foreign` for another one's
 * topic.
 */
export const openFeed = async (config: Config): Promise<Feed> => {
  const feed = await openEmbeddedFeed({ path: config.topic.path });
  try {
    refuseForeignOwner({ name: config.name, kind: kindOf(config), state: await feed.state() });
    return feed;
  } catch (thrown) {
    await feed.close();
    throw thrown;
  }
};

/** Process id of the one that writes there now; null: nobody does. */
export const findRunner = ({ topic }: Config): Promise<string | null> => findHolder(topic.path);

/**
 * The shape of a table as it was last published: what a log that lags behind its catalog may still speak of.
 */
export const newestSchema = (
  { name }: Config,
  publisher: Publisher,
  table: TableName,
): TableSchema | null => {
  const record = schemaRecords(publisher.state(), topicName(name, table)).at(-1);
  return record === undefined ? null : { name: record.table, columns: record.columns, key: record.key };
};
