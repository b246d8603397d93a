// Owns a table as it is stored, in the engine's words: its layout, its files, how a new one is partitioned.
// Commits nothing.
import type { Column } from '../../change/schema.ts';
import type { SchemaRecord } from '../../topic/state.ts';
import {
  fieldOfColumn,
  printColumnIds,
  readColumnIds,
  type TableLayout,
  type TableMode,
} from './columns-layout.ts';
import type { TableFiles, WrittenFile } from './engine/protocol.ts';
import { canBucket } from './iceberg/bucket.ts';
import type { WantedPartition } from './iceberg/schema.ts';
import { liveFiles, type TableState } from './iceberg/table-state.ts';
import type { Store } from './store.ts';

const ROWS_A_BUCKET = 5_000_000;
const MAX_BUCKETS = 1024;

/** The table's layout as its metadata has it. */
export const storedLayout = (state: TableState): TableLayout => ({
  mode: (state.properties['varve.mode'] ?? 'scd2') as TableMode,
  fields: state.fields,
  columns: readColumnIds(state.properties['varve.columns'] ?? '{}'),
  key: JSON.parse(state.properties['varve.key'] ?? '[]') as number[],
  lastId: state.metadata['last-column-id'],
});

export const layoutProperties = ({ mode, columns, key }: TableLayout): Record<string, string> => ({
  'varve.mode': mode,
  'varve.columns': printColumnIds(columns),
  'varve.key': JSON.stringify(key),
});

const bucketCount = (rows: number): number => {
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, rows / ROWS_A_BUCKET)));
  return Math.min(MAX_BUCKETS, wanted);
};

/** `rows`: how many the table is expected to begin with. */
export const choosePartition = (
  { columns, key }: SchemaRecord,
  layout: TableLayout,
  rows: number,
): WantedPartition[] => {
  if (layout.mode === 'append') return [];
  const current = layout.fields.find(({ name }) => name === 'is_current');
  const bucketable = key
    .map((at) => fieldOfColumn(layout, columns[at] as Column))
    .find((field) => field !== null && canBucket(field.type))?.id;
  const partition = [{ sourceId: current?.id ?? 0, transform: 'identity' }];
  if (bucketable !== undefined)
    partition.push({ sourceId: bucketable, transform: `bucket[${bucketCount(rows)}]` });
  return partition;
};

export const storedFiles = async (
  store: Store,
  state: TableState,
  layout = storedLayout(state),
): Promise<TableFiles> => {
  const live = [...(await liveFiles(store, state)).values()];
  return {
    location: state.location,
    layout,
    spec: state.spec,
    data: live.filter(({ content }) => content === 'data'),
    deletes: live.filter(({ content }) => content === 'position_deletes'),
  };
};

/** Takes over what the engine has written; nobody sees it before a commit names it. */
export const adoptFiles = async (store: Store, files: readonly WrittenFile[]): Promise<void> => {
  for (const { local, file } of files) await store.adopt(local, file.path);
};
