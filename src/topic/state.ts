// Owns the state records' keys and shapes: JSON with a layout version. Checksums are the publisher's; where
// they are kept is the publisher's too. Knows no database: positions and identities are text.
import type { ResumePoint } from '../change/event.ts';
import type { Order } from '../change/order.ts';
import type { Column, TableName } from '../change/schema.ts';
import { VarveError } from '../errors.ts';

const STATE_LAYOUT = 1;

/**
 * In every atomic write. `part`: a transaction too large for one write; its events up to `ordinal` are out.
 */
export type Checkpoint = {
  resume: ResumePoint;
  part: {
    order: Order;
    ordinal: number;
    /** Events published so far by table, where transactions are numbered. */
    counts?: Readonly<Record<string, number>>;
  } | null;
  /** Hash of the table selection; ordinals of a part mean nothing under another selection. */
  selection: string;
  /** Source commit time of the newest transaction, microseconds as text. */
  commitTs: string;
  /**
   * Every event up to this order is out: the end of the newest whole transaction. Absent: none was since this
   * is written down.
   */
  order?: Order;
};

export type IdentityRecord = { pipeline: string; kind: string; source: Record<string, string> };
export type EpochRecord = { epoch: number };
/** Durable before anything is created in the source. */
export type IntentRecord = { epoch: number; tables: TableName[] };

/**
 * `done` is the completion marker; it becomes durable with or after the last row, so whoever sees it and then
 * reads the topic's end has all rows below that end.
 */
export type SnapshotRecord = {
  table: TableName;
  epoch: number;
  /**
   * Order of the snapshot's instant (ordinal 0): its rows follow it, events of the table below it are
   * dropped.
   */
  order: Order;
  ts: string;
  rows: number;
  estimatedRows: number;
  done: boolean;
  /** True when earlier epochs may hold keys that this snapshot no longer has, so that the sink must sweep. */
  sweep: boolean;
};

/**
 * `n` rises by one a table; the newest record whose `first` <= an event's order and whose `valueId` fits is
 * its.
 */
export type SchemaRecord = {
  table: TableName;
  n: number;
  first: Order;
  columns: Column[];
  /** Avro field names, one a column. */
  fields: string[];
  key: number[];
  keyId: number | null;
  valueId: number;
  /** Of the topic; absent: one. */
  partitions?: number;
  /** Of the topic, where it tells one that was made again; absent: not known. */
  topicId?: string;
};

/**
 * Rows of the table changed without events: nothing goes on until a snapshot newer than `order` repairs it.
 */
export type StaleRecord = { table: TableName; reason: string; order: Order };

/** A hole in the history that the operator accepted. */
export type GapRecord = { from: ResumePoint; to: ResumePoint; atMs: number };

/** What a later `status` tells about a daemon that is gone. */
export type StatusRecord = {
  state: 'running' | 'retrying' | 'stopped' | 'failed';
  reason: string | null;
  sentence: string | null;
  atMs: number;
};

export const STATE_KEYS = {
  checkpoint: 'checkpoint',
  identity: 'identity',
  epoch: 'epoch',
  intent: 'intent',
  snapshot: (topic: string) => `snapshot/${topic}`,
  schema: (topic: string, n: number) => `schema/${topic}/${n}`,
  stale: (topic: string) => `stale/${topic}`,
  /** Changes that wait because the registry refuses their schema. */
  parked: (topic: string) => `parked/${topic}`,
  gap: (n: number) => `gap/${n}`,
  status: 'status',
  schemasOf: (topic: string) => `schema/${topic}/`,
} as const;

export const printState = (record: object): string => JSON.stringify({ v: STATE_LAYOUT, ...record });

/** The record's body, null when there is none. Throws `state_newer` for a layout from the future. */
export const readState = <Body>(state: ReadonlyMap<string, string>, key: string): Body | null => {
  const text = state.get(key);
  if (text === undefined) return null;
  const { v, ...body } = JSON.parse(text) as { v: number } & Body;
  if (v === STATE_LAYOUT) return body as Body;
  throw new VarveError(
    'state_newer',
    `The state record ${key} has layout ${v}; this Varve reads up to ${STATE_LAYOUT}. ` +
      'Run the newer Varve that wrote it.',
    { facts: { key, layout: v } },
  );
};
