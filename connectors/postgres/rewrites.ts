// Owns the judgement whether rows changed without events between two looks: ADD COLUMN with a default, a
// rewriting ALTER TYPE, ATTACH and DETACH PARTITION, TRUNCATE of a leaf, another publication. Pure; how it is
// looked is rewrites-look.ts's.

export type ColumnFacts = {
  id: number;
  name: string;
  typeId: number;
  typeModifier: number;
  /** Transaction that wrote the column's catalog row last: every ALTER of the column writes a new one. */
  version: string;
  /** Rows older than the column show a value that no event carried. */
  hasMissingValue: boolean;
};

/** What holds rows: the table itself, or one leaf of a partitioned one. */
export type PartFacts = {
  oid: number;
  name: string;
  isLeaf: boolean;
  file: number;
  isEmpty: boolean;
  /**
   * Columns (ids) that are younger than every row: the table was written anew with them, or filled after
   * them.
   */
  columnsWithoutOlderRows: readonly number[];
  /** Columns (ids) that rows older than them are known, or must be feared, to be there. */
  columnsWithOlderRows: readonly number[];
  /** Rows that were in the leaf before it was attached are there. */
  hasRowsBeforeAttach: boolean;
  /** Rows that are older than the leaf's newest catalog row are there: its last new file kept them. */
  hasRowsBeforeFile: boolean;
};

export type TableFacts = {
  oid: number;
  columns: readonly ColumnFacts[];
  parts: readonly PartFacts[];
  /** What makes the publication send the table, as one text; '' where it does not; absent: not known. */
  published?: string;
};

/** New, or its catalog row was written since. */
export const changedColumns = (before: TableFacts, now: TableFacts): ColumnFacts[] => {
  const versions = new Map(before.columns.map(({ id, version }) => [id, version]));
  return now.columns.filter(({ id, version }) => versions.get(id) !== version);
};

/** Parts of `now` that had rows and have another file than before. */
const movedParts = (before: TableFacts, now: TableFacts): PartFacts[] => {
  const old = new Map(before.parts.map((part) => [part.oid, part]));
  return now.parts.filter(({ oid, file }) => {
    const was = old.get(oid);
    return was !== undefined && was.file !== file && !was.isEmpty;
  });
};

/**
 * A new file alone proves nothing: VACUUM FULL, CLUSTER, SET TABLESPACE and TRUNCATE (which is an event) make
 * one too, and an alarm for each would stop people every night. What tells them apart:
 * - ALTER TABLE writes every row anew in its own transaction, and the catalog row of the column with them;
 *   VACUUM FULL and its like keep the transactions of the rows, and touch no column.
 * - So a table was rewritten when its file is new, a column was altered, and no row is older than that.
 * Where a column is altered harmlessly and the table is emptied and filled again between two looks, the alarm
 * is false; the other way round rows would be lost.
 * @returns the reason, for people; null: no row changed without an event
 */
export const detectRewrite = (before: TableFacts, now: TableFacts): string | null => {
  if (before.oid !== now.oid) return 'the table was dropped and made again';
  if (before.published && now.published !== undefined && before.published !== now.published) {
    return now.published === ''
      ? 'the publication does not contain the table any more'
      : 'the table was taken out of the publication and put into it again, or is published otherwise';
  }
  const known = new Set(before.columns.map(({ id }) => id));
  const moved = movedParts(before, now);
  for (const { id, name, hasMissingValue } of changedColumns(before, now)) {
    const isNew = !known.has(id);
    if (isNew && hasMissingValue && now.parts.some((part) => part.columnsWithOlderRows.includes(id))) {
      return `column ${name} was added with a default`;
    }
    if (!moved.some((part) => part.columnsWithoutOlderRows.includes(id))) continue;
    return `column ${name} was ${isNew ? 'added' : 'altered'}, and the table rewritten`;
  }
  return detectLeafChange(before, now);
};

const detectLeafChange = (before: TableFacts, now: TableFacts): string | null => {
  const truncated = movedParts(before, now).find((part) => part.isLeaf && !part.hasRowsBeforeFile);
  if (truncated) return `partition ${truncated.name} was truncated`;
  const old = new Set(before.parts.map(({ oid }) => oid));
  const attached = now.parts.find((part) => !old.has(part.oid) && part.hasRowsBeforeAttach);
  if (attached) return `partition ${attached.name} was attached with rows in it`;
  const kept = new Set(now.parts.map(({ oid }) => oid));
  const gone = before.parts.find((part) => !kept.has(part.oid) && !part.isEmpty);
  return gone ? `partition ${gone.name} was detached or dropped` : null;
};
