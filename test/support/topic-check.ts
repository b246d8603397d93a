// Owns the comparison of what stands on the topics with what the source's audit says was committed: over
// plain values, so that a fault can be planted in them. Reads nothing; knows no Kafka client and no database.
import assert from 'node:assert/strict';
import { type Order, parseOrder, transactionOf } from '../../src/change/order.ts';
import {
  type SourceChange,
  type SourceTransaction,
  sameImage,
  show,
  type TopicRecord,
} from './topic-rows.ts';
import { checkSnapshot } from './topic-snapshot-check.ts';

export type TopicRules = {
  /** Transactions with an audit row after this one came by the stream, not by a snapshot. */
  readonly since: bigint;
  /** Partitions of each table's topic, one number for all. */
  readonly partitions: number;
  /** Without transactions records may come again; the first of them counts. */
  readonly repeats?: boolean;
  /** Transactions with more changes may be published in parts. */
  readonly wholeUpTo?: number;
};

const fail = (sentence: string): never => assert.fail(sentence);

const place = ({ table, partition, offset }: TopicRecord): string => `${table}/${partition}@${offset}`;

/** What makes two records the same event. */
const identity = ({ table, partition, order, op, key }: TopicRecord): string =>
  `${table} ${partition} ${order} ${op} ${key}`;

/** Without repetitions. Throws for one unless `repeats`, and for two that say different things. */
const takeOnce = (records: readonly TopicRecord[], repeats: boolean): TopicRecord[] => {
  const seen = new Map<string, TopicRecord>();
  for (const record of records) {
    const first = seen.get(identity(record));
    if (first === undefined) seen.set(identity(record), record);
    else if (!repeats) fail(`${identity(record)} is there twice: ${place(first)} and ${place(record)}`);
    else if (show(first.after) !== show(record.after))
      fail(`${place(record)} says something else than ${place(first)}, of the same change`);
  }
  return [...seen.values()];
};

/** By rising order in each partition, and for a key from snapshot rows to the newest change. */
const checkOrder = (records: readonly TopicRecord[]): void => {
  const newest = new Map<string, TopicRecord>();
  const rises = (name: string, record: TopicRecord, orderOf: (order: Order) => string): void => {
    const before = newest.get(name);
    if (before !== undefined && orderOf(before.order) > orderOf(record.order))
      fail(`${place(record)} (${record.order}) is older than ${place(before)} (${before.order})`);
    newest.set(name, record);
  };
  for (const record of records) {
    const { table, partition, key, order } = record;
    if (parseOrder(order).phase === 1) rises(`stream ${table} ${partition}`, record, (all) => all);
    if (record.op !== 't') rises(`key ${table} ${key}`, record, transactionOf);
  }
};

const checkPlaces = (records: readonly TopicRecord[]): void => {
  const places = new Map<string, TopicRecord>();
  for (const record of records) {
    if (record.op === 't') continue;
    const name = `${record.table} ${record.key}`;
    const first = places.get(name) ?? record;
    if (first.partition !== record.partition)
      fail(`key ${record.key} is in two partitions: ${place(first)} and ${place(record)}`);
    places.set(name, first);
  }
};

/** After each delete of a key, its tombstone, and no tombstone without. */
const checkTombstones = (records: readonly TopicRecord[]): void => {
  const open = new Map<string, TopicRecord>();
  for (const record of records) {
    if (record.key === null) continue;
    const name = `${record.table} ${record.key}`;
    const deleted = open.get(name);
    const fits =
      deleted === undefined ? record.op !== null : record.op === null && record.order === deleted.order;
    if (!fits) fail(`${place(record)} of key ${record.key}: a delete and its tombstone belong together`);
    if (record.op === 'd') open.set(name, record);
    else open.delete(name);
  }
  for (const record of open.values()) fail(`${place(record)} is a delete without its tombstone`);
};

/** A changed key is two records of one order, in any two partitions: the old key's first. */
const inSourceOrder = (records: readonly TopicRecord[]): TopicRecord[] =>
  records.toSorted((a, b) => {
    if (a.order !== b.order) return a.order < b.order ? -1 : 1;
    if (a.op !== b.op) return a.op === 'd' ? -1 : 1;
    return a.partition - b.partition;
  });

const saysSame = (change: SourceChange, record: TopicRecord): boolean =>
  change.table === record.table &&
  change.op === record.op &&
  change.key === record.key &&
  sameImage(change.after, record.after) &&
  (change.before === null || sameImage(change.before, record.before));

const tell = (one: SourceChange | TopicRecord | undefined): string =>
  one === undefined ? 'nothing' : `${one.op} ${one.table} ${one.key} ${show(one.after ?? one.before)}`;

/** Tables that are emptied at once have no order among them. */
const truncatesByTable = <One extends Pick<SourceChange, 'table'> & { op: string | null }>(
  all: readonly One[],
): One[] => {
  const runs: One[][] = [];
  for (const one of all) {
    const run = runs.at(-1);
    if (one.op === 't' && run?.[0]?.op === 't') run.push(one);
    else runs.push([one]);
  }
  return runs.flatMap((run) => run.sort((a, b) => (a.table < b.table ? -1 : a.table > b.table ? 1 : 0)));
};

/** Change by change; a truncate is one record a partition. */
const compareChanges = (
  { tx, changes }: SourceTransaction,
  records: readonly TopicRecord[],
  { partitions }: TopicRules,
): void => {
  const wanted = truncatesByTable(changes).flatMap((change) =>
    change.op === 't' ? Array.from({ length: partitions }, () => change) : [change],
  );
  const found = truncatesByTable(inSourceOrder(records));
  for (let at = 0; at < Math.max(wanted.length, found.length); at++) {
    const [change, record] = [wanted[at], found[at]];
    if (change !== undefined && record !== undefined && saysSame(change, record)) continue;
    const where = record === undefined ? '' : ` at ${place(record)}`;
    fail(
      `transaction ${tx}: change ${at + 1} of ${wanted.length} is ${tell(change)}, ` +
        `and the topic has ${tell(record)}${where}`,
    );
  }
};

const checkWhole = (tx: string, records: readonly TopicRecord[]): void => {
  const positions = new Set(records.map(({ order }) => transactionOf(order)));
  if (positions.size > 1)
    fail(`transaction ${tx} has ${positions.size} positions: ${[...positions].join(', ')}`);
  const atomic = new Set(records.map((record) => record.atomic));
  if (atomic.size > 1) fail(`transaction ${tx} is torn: it came in ${[...atomic].join(' and ')}`);
};

/**
 * Every committed change once, in the source's order for each key, in whole transactions, and nothing else;
 * the changes that no record tells of are those that the snapshot's rows hold. `records`: by topic, partition
 * and offset. Throws an AssertionError that names the place.
 */
export const checkTopics = (
  source: readonly SourceTransaction[],
  records: readonly TopicRecord[],
  rules: TopicRules,
): void => {
  const once = takeOnce(records, rules.repeats ?? false);
  checkPlaces(once);
  checkOrder(once);
  checkTombstones(once);
  const streamed = once.filter(({ op, order }) => op !== null && parseOrder(order).phase === 1);
  const byTx = Map.groupBy(streamed, ({ tx }) => tx);
  const committed = new Set(source.map(({ tx }) => tx));
  for (const [tx, found] of byTx) {
    if (tx === null || !committed.has(tx))
      fail(`${found.map(place).join(', ')} tell of transaction ${tx}, which the source never committed`);
  }
  const unseen: SourceChange[] = [];
  for (const transaction of source) {
    const found = byTx.get(transaction.tx) ?? [];
    const tables = new Set(found.map(({ table }) => table));
    const [told, untold] = [[] as SourceChange[], [] as SourceChange[]];
    for (const change of transaction.changes) (tables.has(change.table) ? told : untold).push(change);
    const lost = untold.find(({ seq }) => seq > rules.since);
    if (lost !== undefined) fail(`transaction ${transaction.tx} is missing: ${tell(lost)}`);
    unseen.push(...untold);
    compareChanges({ tx: transaction.tx, changes: told }, found, rules);
    if (transaction.changes.length <= (rules.wholeUpTo ?? Number.POSITIVE_INFINITY))
      checkWhole(transaction.tx, found);
  }
  const seen = new Set(unseen);
  const told = source.flatMap(({ changes }) => changes.filter((change) => !seen.has(change)));
  checkSnapshot({ unseen, told, rows: once.filter(({ op }) => op === 'r') });
};

/** A moment at which something claimed to be safe, and where each partition ended right after. */
export type Mark = {
  readonly what: string;
  /** Every transaction whose position is below this one is claimed. */
  readonly position: bigint;
  /** By `<table>/<partition>`. */
  readonly ends: ReadonlyMap<string, bigint>;
};

/** No claim may be ahead of what could be read when it was made. */
export const checkMarks = (records: readonly TopicRecord[], marks: readonly Mark[]): void => {
  const streamed = records.filter(({ order }) => parseOrder(order).phase === 1);
  for (const { what, position, ends } of marks) {
    for (const record of streamed) {
      const { table, partition, offset, order } = record;
      if (parseOrder(order).position >= position) continue;
      const end = ends.get(`${table}/${partition}`) ?? 0n;
      if (offset >= end)
        fail(`${what} covered ${place(record)} (${order}) while the partition ended at ${end}`);
    }
  }
};
