// Owns how a table's columns and partitioning may change while its files stay: field ids never change, never
// return. Pure. https://iceberg.apache.org/spec/#schema-evolution
import { VarveError } from '../../../errors.ts';
import type { IcebergField, IcebergType, PartitionField, PartitionSpec } from '../iceberg-type.ts';

/**
 * `id: null`: a new column. Otherwise the column that has this id, under a new name, wider or not required.
 */
export type WantedField = Omit<IcebergField, 'id'> & { id: number | null };
/** Element ids of new lists are given out as well; the wanted ones are not looked at. */
export type Columns = { fields: readonly IcebergField[]; lastColumnId: number };

const refuse = (name: string, why: string): VarveError =>
  new VarveError('schema_incompatible', `The column ${JSON.stringify(name)} ${why}.`, {
    facts: { column: name },
  });

const decimalParts = (type: string): [precision: number, scale: number] | null => {
  const found = /^decimal\((\d+),\s*(\d+)\)$/.exec(type);
  return found ? [Number(found[1]), Number(found[2])] : null;
};

/** True when files written as `from` can be read as `to`. */
export const canPromote = (from: IcebergType, to: IcebergType): boolean => {
  if (typeof from !== 'string' || typeof to !== 'string')
    return (
      typeof from !== 'string' &&
      typeof to !== 'string' &&
      canPromote(from.element, to.element) &&
      (from['element-required'] || !to['element-required'])
    );
  if (from === to || (from === 'int' && to === 'long') || (from === 'float' && to === 'double')) return true;
  const [narrow, wide] = [decimalParts(from), decimalParts(to)];
  return narrow !== null && wide !== null && narrow[1] === wide[1] && narrow[0] <= wide[0] && wide[0] <= 38;
};

const withElementId = (type: IcebergType, known: IcebergType | null, next: () => number): IcebergType => {
  if (typeof type === 'string') return type;
  const id = known !== null && typeof known !== 'string' ? known['element-id'] : next();
  return { ...type, 'element-id': id };
};

/**
 * The columns with ids for all. Ids above `lastColumnId` are taken as given out before (by an earlier call),
 * so the result fed in again is itself. Throws schema_incompatible for a change that old files would not
 * survive.
 */
export const evolveColumns = (current: Columns, wanted: readonly WantedField[]): Columns => {
  const known = new Map(current.fields.map((field) => [field.id, field]));
  const names = new Set<string>();
  const seen = new Set<number>();
  const idsOf = (field: WantedField) => [
    field.id ?? 0,
    typeof field.type === 'string' || field.id === null ? 0 : field.type['element-id'],
  ];
  let last = Math.max(current.lastColumnId, ...wanted.flatMap(idsOf));
  const next = (): number => ++last;
  const fields = wanted.map((field): IcebergField => {
    if (names.has(field.name)) throw refuse(field.name, 'occurs twice');
    names.add(field.name);
    const before = field.id === null ? null : (known.get(field.id) ?? null);
    if (field.id !== null) {
      if (seen.has(field.id)) throw refuse(field.name, `has the field id ${field.id} of another column`);
      seen.add(field.id);
      if (before === null && field.id <= current.lastColumnId)
        throw refuse(field.name, `wants the field id ${field.id} of a dropped column`);
    }
    if (before !== null) {
      if (!canPromote(before.type, field.type)) throw refuse(field.name, 'cannot change its type in place');
      if (field.required && !before.required)
        throw refuse(field.name, 'cannot become required: old rows may be NULL');
    } else if (field.required && current.fields.length > 0)
      throw refuse(field.name, 'is new and cannot be required: old rows have no value');
    // A column given out by an earlier call comes with its element id.
    const ready = before?.type ?? (field.id !== null ? field.type : null);
    return { ...field, id: field.id ?? next(), type: withElementId(field.type, ready, next) };
  });
  return { fields, lastColumnId: last };
};

/** Equal in what files depend on, and in names. */
export const sameColumns = (a: readonly IcebergField[], b: readonly IcebergField[]): boolean =>
  JSON.stringify(a.map(({ id, name, required, type }) => [id, name, required, type])) ===
  JSON.stringify(b.map(({ id, name, required, type }) => [id, name, required, type]));

/**
 * Partitioning by source column and transform; partition.ts says which ones Varve writes.
 */
export type WantedPartition = { sourceId: number; transform: string };
type Partitioning = { specs: readonly PartitionSpec[]; lastPartitionId: number };

/** First id of partition fields, by the spec. */
export const FIRST_PARTITION_ID = 1000;

/** A partition field's name, unless a column has it. */
export const partitionName = (column: string, transform: string): string =>
  // With the count in it: the name of one bucket count is never that of another, nor of the column.
  transform === 'identity' ? column : `${column}_${transform.replace('[', '_').replace(']', '')}`;

/**
 * The spec to write with, an existing one when it partitions alike; a field that stays keeps its id. A
 * partition name that a column has already gets underscores.
 */
export const evolveSpec = (
  { specs, lastPartitionId }: Partitioning,
  wanted: readonly WantedPartition[],
  columns: readonly IcebergField[],
): { spec: PartitionSpec; lastPartitionId: number } => {
  const key = (field: WantedPartition): string => `${field.sourceId}:${field.transform}`;
  const text = wanted.map(key).join();
  const same = specs.find((spec) => spec.fields.map(key).join() === text);
  if (same) return { spec: same, lastPartitionId };
  const known = new Map(specs.flatMap((spec) => spec.fields.map((field) => [key(field), field] as const)));
  let last = lastPartitionId;
  const fields = wanted.map(({ sourceId, transform }): PartitionField => {
    const before = known.get(`${sourceId}:${transform}`);
    if (before) return before;
    const column = columns.find((field) => field.id === sourceId);
    if (!column)
      throw new VarveError(
        'internal',
        `No column has the field id ${sourceId} that the table is partitioned by.`,
      );
    let name = partitionName(column.name, transform);
    while (transform !== 'identity' && columns.some((field) => field.name === name)) name += '_';
    return { fieldId: ++last, sourceId, name, transform };
  });
  const specId = specs.reduce((most, spec) => Math.max(most, spec.specId), -1) + 1;
  return { spec: { specId, fields }, lastPartitionId: last };
};
