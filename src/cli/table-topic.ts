// Owns finding the table that somebody names on the command line among those that the pipeline has.
import { tableText } from '../change/schema.ts';
import type { Config } from '../config.ts';
import { VarveError } from '../errors.ts';
import type { Feed } from '../topic/feed.ts';
import { readState, type SchemaRecord } from '../topic/state.ts';

/** All tables that have ever been published: topic -> newest schema record. */
export const knownTables = async (feed: Feed): Promise<Map<string, SchemaRecord>> => {
  const state = await feed.state();
  const tables = new Map<string, SchemaRecord>();
  for (const key of state.keys()) {
    if (!key.startsWith('schema/')) continue;
    const topic = key.slice('schema/'.length, key.lastIndexOf('/'));
    const record = readState<SchemaRecord>(state, key);
    if (record !== null && record.n > (tables.get(topic)?.n ?? 0)) tables.set(topic, record);
  }
  return tables;
};

/** Takes `schema.table`, or the table's name alone where that is not ambiguous. */
export const tableTopic = async (feed: Feed, config: Config, named: string): Promise<string> => {
  const tables = await knownTables(feed);
  const exact = [...tables].filter(([, { table }]) => tableText(table) === named);
  const loose = [...tables].filter(([, { table }]) => table[1] === named);
  const found = exact.length > 0 ? exact : loose;
  if (found.length === 1 && found[0]) return found[0][0];
  const all = [...tables.values()].map(({ table }) => tableText(table)).sort();
  const why = found.length > 1 ? 'is in several schemas' : 'is not there';
  throw new VarveError(
    'usage',
    `${named} ${why}; ${config.name} has ${all.length === 0 ? 'no table yet' : all.join(', ')}.`,
  );
};
