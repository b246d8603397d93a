// Owns which column is which: finds the ids (attnum) of the columns that the log describes, and the key among
// them. Pure. The log has names, types and order; the catalog has ids but may be ahead of the log, past
// renames and drops.
import type { TableSchema } from '../../src/change/schema.ts';
import type { LiveColumn, LiveTable } from './catalog-queries.ts';
import type { RelationMessage } from './pgoutput.ts';

type LoggedColumn = RelationMessage['columns'][number];

export type Evidence = {
  /** The catalog's table as of now, the root for a leaf; null: it is gone. */
  live: LiveTable | null;
  /** The schema that was last in force under this name; null: none is known. */
  previous: TableSchema | null;
  /** The log describes a leaf: its own order of columns and its own numbers mean nothing to the root. */
  isLeaf: boolean;
};

const sameType = (logged: LoggedColumn, live: LiveColumn): boolean =>
  logged.typeOid === live.typeOid && logged.typmod === live.typmod;

const isRising = (ids: readonly (number | null)[]): boolean => {
  const found = ids.filter((id) => id !== null);
  return found.every((id, at) => at === 0 || id > (found[at - 1] as number));
};

/**
 * By name. Where the catalog and the previous schema disagree, the name was dropped and added again (or
 * swapped): the catalog is right if it has the log's type, and the schema is right if the catalog is ahead.
 * Null: neither knows it.
 */
const matchNames = (
  logged: readonly LoggedColumn[],
  { live, previous, isLeaf }: Evidence,
): (number | null)[] => {
  const current = new Map(live?.columns.filter((c) => !c.dropped).map((column) => [column.name, column]));
  const former = new Map(previous?.columns.map((column) => [column.name, column.id]));
  const byCatalog = logged.map((column) => {
    const found = current.get(column.name);
    const old = former.get(column.name) ?? null;
    if (found === undefined) return old;
    return old !== null && old !== found.id && !sameType(column, found) ? old : found.id;
  });
  const isUnique = (ids: readonly (number | null)[]): boolean => {
    const found = ids.filter((id) => id !== null);
    return new Set(found).size === found.length;
  };
  // The log lists columns in order of their ids, so another order tells that the catalog is ahead.
  if (isUnique(byCatalog) && (isLeaf || isRising(byCatalog))) return byCatalog;
  const byPrevious = logged.map((column, at) => former.get(column.name) ?? byCatalog[at] ?? null);
  if (isUnique(byPrevious) && (isLeaf || isRising(byPrevious))) return byPrevious;
  return logged.map(() => null);
};

/** First free id between two neighbours: a live column of the same type, else a dropped one, else any. */
const findFree = (
  column: LoggedColumn,
  live: readonly LiveColumn[],
  { taken, above, below }: { taken: ReadonlySet<number>; above: number; below: number },
): number => {
  const free = live.filter(({ id, generated }) => !generated && !taken.has(id) && id > above && id < below);
  const found =
    free.find((other) => !other.dropped && sameType(column, other)) ?? free.find((other) => other.dropped);
  if (found !== undefined) return found.id;
  let id = above + 1;
  while (taken.has(id)) id++;
  return id;
};

/** One id a column of the log, in its order. */
export const matchColumns = (logged: readonly LoggedColumn[], evidence: Evidence): number[] => {
  const matched = matchNames(logged, evidence);
  const taken = new Set(matched.filter((id) => id !== null));
  const live = evidence.live?.columns ?? [];
  return matched.map((id, at) => {
    if (id !== null) return id;
    const above = evidence.isLeaf ? 0 : (matched.slice(0, at).findLast((other) => other !== null) ?? 0);
    const below = evidence.isLeaf
      ? Infinity
      : (matched.slice(at).find((other) => other !== null) ?? Infinity);
    const free = findFree(logged[at] as LoggedColumn, live, { taken, above, below });
    taken.add(free);
    matched[at] = free;
    return free;
  });
};

const holdsSame = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((id) => b.includes(id));

/**
 * Ids of the key's columns in key order; empty for a table without key. An identity index is the key, because
 * that is what updates and deletes are told by; else it is the primary key. The log says which columns are in
 * the identity, the catalog in which order.
 */
export const findKey = (
  relation: RelationMessage,
  ids: readonly number[],
  { live, previous, isLeaf }: Evidence,
): number[] => {
  const former = previous?.key.map((at) => previous.columns[at]?.id ?? 0) ?? [];
  const primary = (live?.primaryKey ?? former).filter((id) => ids.includes(id));
  const isWhole = primary.length === (live?.primaryKey ?? former).length;
  const flagged = ids.filter((_, at) => relation.columns[at]?.isKey);
  const tellsKey = flagged.length > 0 && relation.replicaIdentity !== 'f';
  // A leaf may have a wider key of its own; what its root says goes for all leaves.
  if (!tellsKey || (isLeaf && isWhole && primary.length > 0 && primary.every((id) => flagged.includes(id)))) {
    return isWhole ? primary : [];
  }
  const orders = [relation.replicaIdentity === 'i' ? (live?.identityIndex ?? []) : primary, primary, former];
  return orders.find((order) => holdsSame(order, flagged)) ?? flagged;
};
