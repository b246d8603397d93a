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
  const byPrevious = logged.map((column, at) => former.get(column.name) ?? byCatalog[at] ?? null);
  const fits = isLeaf ? isUnique : isRising;
  if (fits(byCatalog)) return byCatalog;
  return fits(byPrevious) ? byPrevious : keepRising(byCatalog, live?.columns ?? []);
};

const isUnique = (ids: readonly (number | null)[]): boolean => {
  const found = ids.filter((id) => id !== null);
  return new Set(found).size === found.length;
};

/** The log lists columns in order of their ids, so another order tells that the catalog is ahead. */
const isRising = (ids: readonly (number | null)[]): boolean => {
  const found = ids.filter((id) => id !== null);
  return found.every((id, at) => at === 0 || id > (found[at - 1] as number));
};

/**
 * Without the names that came back under a higher number; without any, if that leaves too few numbers below
 * one.
 */
const keepRising = (ids: readonly (number | null)[], live: readonly LiveColumn[]): (number | null)[] => {
  const kept = ids.map((id, at) =>
    ids.slice(at + 1).every((later) => later === null || id === null || later > id) ? id : null,
  );
  const isPossible = kept.every(
    (id, at) => id === null || live.filter((column) => !column.generated && column.id <= id).length > at,
  );
  return isPossible ? kept : ids.map(() => null);
};

type Gap = { taken: ReadonlySet<number>; above: number; below: number; wanted: number };

/**
 * The likeliest id for a column that nobody knows by name any more, between the ids of its neighbours.
 * Numbers are given once and rise, so what the previous schema had already lost is out of the question, and
 * the lowest left is the next.
 */
const findFree = (column: LoggedColumn, { live, previous }: Evidence, gap: Gap): number => {
  const former = previous?.columns.map(({ id }) => id) ?? [];
  const newest = Math.max(0, ...former);
  const free = (live?.columns ?? []).filter(({ id, generated }) => {
    if (generated || gap.taken.has(id) || id <= gap.above || id >= gap.below) return false;
    return id > newest || former.includes(id);
  });
  const isForced = previous !== null || free.length === gap.wanted;
  // Without a schema before, dropped columns may be long gone: a live one of the same type is likelier.
  const found =
    (isForced ? free[0] : undefined) ??
    free.find((other) => !other.dropped && sameType(column, other)) ??
    free.find(({ dropped }) => dropped) ??
    free[0];
  if (found !== undefined) return found.id;
  let id = gap.above + 1;
  while (gap.taken.has(id)) id++;
  return id;
};

/** One id a column of the log, in its order. */
export const matchColumns = (logged: readonly LoggedColumn[], evidence: Evidence): number[] => {
  const matched = matchNames(logged, evidence);
  const taken = new Set(matched.filter((id) => id !== null));
  return matched.map((id, at) => {
    if (id !== null) return id;
    const rest = matched.slice(at);
    const next = rest.findIndex((other) => other !== null);
    const free = findFree(logged[at] as LoggedColumn, evidence, {
      taken,
      above: evidence.isLeaf ? 0 : (matched.slice(0, at).findLast((other) => other !== null) ?? 0),
      below: evidence.isLeaf || next < 0 ? Number.POSITIVE_INFINITY : (rest[next] as number),
      wanted: next < 0 ? rest.length : next,
    });
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
