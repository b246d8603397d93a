// Owns a table as it is stored, in the engine's words: its columns, its files.
// Commits nothing.
import { VarveError } from '../../errors.ts';
import {
  formerNames,
  printColumnIds,
  readColumnIds,
  type TableLayout,
  type TableMode,
} from './columns-layout.ts';
import type { TableFiles, WrittenFile } from './engine/protocol.ts';
import { storedFormat } from './file-layout.ts';
import { liveFiles, type TableState } from './iceberg/table-state.ts';
import type { PartitionSpec } from './iceberg-type.ts';
import type { Store } from './store.ts';
import type { TableOptions } from './table-options.ts';

/** The table's layout as its metadata has it. */
export const storedLayout = (state: TableState): TableLayout => ({
  mode: (state.properties['varve.mode'] ?? 'scd2') as TableMode,
  fields: state.fields,
  columns: readColumnIds(state.properties['varve.columns'] ?? '{}'),
  key: JSON.parse(state.properties['varve.key'] ?? '[]') as number[],
  former: formerNames(
    state.metadata.schemas.flatMap(({ fields }) => fields.map(({ id, name }) => [name, id] as const)),
    state.fields,
  ),
  lastId: state.metadata['last-column-id'],
});

export const layoutProperties = ({ mode, columns, key }: TableLayout): Record<string, string> => ({
  'varve.mode': mode,
  'varve.columns': printColumnIds(columns),
  'varve.key': JSON.stringify(key),
});

/**
 * Throws `config_invalid` for a table that was built in another mode: what that one has dropped cannot be
 * made up. A table without a key is a list of events in any mode. How rows are taken away may change.
 */
export const refuseOtherMode = (
  { mode, key }: Pick<TableLayout, 'mode' | 'key'>,
  { rules, location, topic }: Pick<TableOptions, 'rules' | 'location' | 'topic'>,
): void => {
  if (key.length === 0 || mode === rules.mode) return;
  throw new VarveError(
    'config_invalid',
    `The table of ${topic} was built in mode ${mode}, and the file says mode ${rules.mode}: neither holds ` +
      `what the other shows. Say mode: ${mode} again for this table, or move ${location} and its companion ` +
      `${location}__varve_state away, run varve reset FILE --yes and start again to have it built anew.`,
    { facts: { topic, location, stored: mode, wanted: rules.mode } },
  );
};

/**
 * Another writer may have changed the partitioning and written by it: then no file tells what stands from
 * what has ended.
 */
const refuseForeignFiles = (state: TableState, { mode, fields }: TableLayout, used: ReadonlySet<number>) => {
  const current = fields.find(({ name }) => name === 'is_current')?.id;
  const isOurs = (spec: PartitionSpec): boolean => spec.fields[0]?.sourceId === current;
  const foreign = state.specs.find((spec) => used.has(spec.specId) && !isOurs(spec));
  if (mode !== 'scd2' || foreign === undefined) return;
  throw new VarveError(
    'table_foreign',
    `${state.location} has files of the partition spec ${foreign.specId}, which another writer made and ` +
      'which does not begin with is_current. Have that writer rewrite them by the spec before it.',
    { facts: { location: state.location, spec: foreign.specId } },
  );
};

export const storedFiles = async (
  store: Store,
  state: TableState,
  layout = storedLayout(state),
): Promise<TableFiles> => {
  const live = [...(await liveFiles(store, state)).values()];
  refuseForeignFiles(state, layout, new Set(live.map(({ specId }) => specId)));
  return {
    location: state.location,
    layout,
    spec: state.spec,
    specs: state.specs,
    format: storedFormat(state),
    data: live.filter(({ content }) => content === 'data'),
    deletes: live.filter(({ content }) => content === 'position_deletes'),
  };
};

/** Takes over what the engine has written; nobody sees it before a commit names it. */
export const adoptFiles = async (store: Store, files: readonly WrittenFile[]): Promise<void> => {
  for (const { local, file } of files) await store.adopt(local, file.path);
};
