// Owns what a table's columns are called: as the source calls them, with a number behind it where one name
// would be had twice. Pure; knows no type and no rule of when a column begins.
import type { IcebergField, PartitionField } from './iceberg-type.ts';

type ToName = {
  /** By the name that it has had so far. */
  field: IcebergField;
  /** As the source calls its column; null: the source has it no more. */
  source: string | null;
  /** The column's later types have columns of their own beside the first. */
  isFirst: boolean;
};

export type Reserved = {
  /** Names that no column of the source ever has, in lower case. */
  own: ReadonlySet<string>;
  /**
   * Names of partition fields: readers refuse a table with a column of that name, unless it is the one that
   * the partition is made of as it is.
   */
  partitions: readonly Pick<PartitionField, 'name' | 'sourceId' | 'transform'>[];
};

/** Engines that fold case would take two columns for one. */
const folded = (name: string): string => name.toLowerCase();

/**
 * Names by field id. Whatever the source has now comes first, by the source's names; a later type of a column
 * is `c__2`, `c__3`. What the source has no more keeps its name until another column takes that, and has the
 * next free number from then on. No other name changes, but that a number goes when its name is free.
 */
export const nameFields = (
  fields: readonly ToName[],
  { own, partitions }: Reserved,
): ReadonlyMap<number, string> => {
  const names = new Map<number, string>();
  const used = new Set(own);
  const known = new Set(fields.map(({ field }) => folded(field.name)));
  const isFree = (name: string, { id }: IcebergField): boolean =>
    !used.has(folded(name)) &&
    partitions.every(
      (one) => folded(one.name) !== folded(name) || (one.transform === 'identity' && one.sourceId === id),
    );
  const take = (field: IcebergField, name: string): void => {
    used.add(folded(name));
    names.set(field.id, name);
  };
  const takeNumbered = (field: IcebergField, base: string): void => {
    const { name } = field;
    let number = 2;
    const next = (): string => `${base}__${number}`;
    const isKept = name.startsWith(`${base}__`) && /^[0-9]+$/.test(name.slice(base.length + 2));
    if (isKept && isFree(name, field)) take(field, name);
    else {
      while (!isFree(next(), field) || known.has(folded(next()))) number++;
      take(field, next());
    }
  };
  const takeFirst = (field: IcebergField, base: string): void =>
    isFree(base, field) ? take(field, base) : takeNumbered(field, base);
  const baseOf = (source: string): string => (own.has(folded(source)) ? `${source}__src` : source);
  const present = fields.flatMap(({ field, source, isFirst }) =>
    source === null ? [] : [{ field, base: baseOf(source), isFirst }],
  );
  for (const { field, base, isFirst } of present) if (isFirst) takeFirst(field, base);
  for (const { field, base, isFirst } of present) if (!isFirst) takeNumbered(field, base);
  for (const { field, source } of fields) if (source === null) takeFirst(field, field.name);
  return names;
};
