// Owns what a table has to be like before rows come: its columns after the newest schema, its files' layout.
// Says how to make or to change it; commits nothing.
import { VarveError } from '../../errors.ts';
import type { SchemaRecord } from '../../topic/state.ts';
import { layoutColumns, type TableLayout } from './columns-layout.ts';
import { currentSize, layoutChange, newLayout } from './file-layout.ts';
import type { Change } from './iceberg/commit.ts';
import { liveFiles, type TableState } from './iceberg/table-state.ts';
import { layoutProperties, refuseOtherMode, storedLayout } from './stored-table.ts';
import type { TableOptions } from './table-options.ts';

/** A table as a fold needs it; the columns may be ahead of the state's. */
export type Shaped = { state: TableState; layout: TableLayout };

/** Throws `config_invalid` for a table that was built in another mode. */
export const refuseOtherShape = (state: TableState, options: TableOptions): void =>
  refuseOtherMode(storedLayout(state), options);

/**
 * The columns that the newest schema asks for; `known`: number of the newest that the table follows. Throws
 * `schema_incompatible`, `key_changed`.
 */
export const wantedColumns = (
  state: TableState | null,
  { schemas, known }: { schemas: readonly SchemaRecord[]; known: number },
  { rules, topic }: TableOptions,
): TableLayout => {
  let layout = state === null ? null : storedLayout(state);
  const partitions = state?.specs.flatMap(({ fields }) => fields) ?? [];
  const { mode, onIncompatible } = rules;
  for (const record of schemas)
    if (record.n > known) layout = layoutColumns(record, layout, { mode, onIncompatible, partitions });
  if (layout !== null && schemas.length > 0) return layout;
  throw new VarveError('schema_unknown', `${topic} has records, but no schema record names its columns.`);
};

const asked = (layout: TableLayout, { rules, topic, lineage }: TableOptions) => ({
  layout,
  rules: rules.files,
  topic,
  lineage,
});

/** What to make a table of that is not there yet; `rows`: how many are expected. Throws `config_invalid`. */
export const newShape = (layout: TableLayout, rows: number, options: TableOptions) => {
  const { properties, ...wanted } = newLayout({ ...asked(layout, options), size: { rows, bytes: 0 } });
  const all = { ...properties, ...layoutProperties(layout) };
  return { ...wanted, columns: layout.fields, properties: all };
};

/** What is to be committed before rows come; null: nothing. Throws `config_invalid`. */
export const shapeChange = async (
  state: TableState,
  layout: TableLayout,
  options: TableOptions,
): Promise<Change | null> => {
  const size = currentSize((await liveFiles(options.io.store, state)).values());
  const change = layoutChange(state, { ...asked(layout, options), size });
  if (change === null) return null;
  return { ...change, properties: { ...change.properties, ...layoutProperties(layout) } };
};
