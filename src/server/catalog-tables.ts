// Owns which tables the catalog has and the newest metadata of each. Names are those of the directories, so
// that a table is called the same by catalog and by path, and needs no quotes anywhere. Knows no HTTP.
import { tableText } from '../change/schema.ts';
import { asVarveError } from '../errors.ts';
import type { PipelineParts } from '../pipeline-parts.ts';
import { directoryName } from '../sinks/parquet/layout.ts';
import type { TablePlace } from '../sinks/parquet/open-store.ts';
import { findTable } from '../sinks/parquet/summary.ts';
import { readState, type SchemaRecord } from '../topic/state.ts';

/** `schema` and `table` are the source's names, the other two the catalog's. */
export type CatalogTable = { namespace: string; name: string; schema: string; table: string };

export type CatalogTables = {
  /** Tables that have been made, by namespace and name. */
  list(): Promise<readonly CatalogTable[]>;
  /**
   * The newest metadata file and its text; null when there is no such table. Throws table_corrupt,
   * table_foreign.
   */
  load(namespace: string, name: string): Promise<{ uri: string; text: string } | null>;
};

/** What a file that went between two looks is worth: the table has a newer one. */
const LOOKS = 3;

const sortKey = ({ namespace, name }: CatalogTable): string => `${namespace}/${name}`;

/** Every table that was ever published, made or not. */
const publishedTables = (state: ReadonlyMap<string, string>): CatalogTable[] =>
  [...state.keys()]
    .filter((key) => /^schema\/.*\/1$/s.test(key))
    .map((key) => readState<SchemaRecord>(state, key)?.table)
    .filter((table) => table !== undefined)
    .map(([schema, table]) => ({
      namespace: directoryName(schema),
      name: directoryName(table),
      schema,
      table,
    }))
    .sort((one, two) => (sortKey(one) < sortKey(two) ? -1 : 1));

/** What Java's clients and Python's need to reach the files, unless they were told otherwise. No secret. */
export const clientDefaults = (place: TablePlace | null): Record<string, string> => {
  if (place?.s3 === undefined) return {};
  const { endpoint, region, path_style: pathStyle = endpoint !== undefined } = place.s3;
  const defaults: Record<string, string> = {};
  if (endpoint !== undefined) defaults['s3.endpoint'] = endpoint;
  if (region !== undefined) Object.assign(defaults, { 's3.region': region, 'client.region': region });
  defaults[pathStyle ? 's3.path-style-access' : 's3.force-virtual-addressing'] = 'true';
  return defaults;
};

/** Of the pipeline's own tables only: others may lie in the same directory. */
export const openCatalogTables = ({
  config,
  feed,
}: Pick<PipelineParts, 'config' | 'feed'>): CatalogTables => {
  /** Seen once, a table stays; looking costs several requests where tables are far away. */
  const made = new Set<string>();

  const find = async ({ schema, table }: CatalogTable): ReturnType<typeof findTable> => {
    if (config.table === undefined) return null;
    const found = await findTable(config.table, { namespace: schema, name: table });
    if (found === null) made.delete(tableText([schema, table]));
    else made.add(tableText([schema, table]));
    return found;
  };

  const isMade = async (table: CatalogTable): Promise<boolean> => {
    if (made.has(tableText([table.schema, table.table]))) return true;
    try {
      return (await find(table)) !== null;
    } catch (thrown) {
      // It is there; who loads it is told what is wrong with it.
      const { kind } = asVarveError(thrown);
      if (kind === 'table_corrupt' || kind === 'table_foreign') return true;
      throw thrown;
    }
  };

  return {
    async list() {
      const found: CatalogTable[] = [];
      for (const table of publishedTables(await feed.state())) if (await isMade(table)) found.push(table);
      return found;
    },
    async load(namespace, name) {
      const published = publishedTables(await feed.state());
      const table = published.find((one) => one.namespace === namespace && one.name === name);
      if (table === undefined) return null;
      for (let look = 1; look <= LOOKS; look++) {
        const found = await find(table);
        if (found === null) return null;
        const uri = found.state.file;
        const bytes = await found.io.store.read(uri);
        if (bytes !== null) return { uri, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
      }
      return null;
    },
  };
};
