// Owns what beginning needs, put together from a pipeline's parts and its opened source.
import { createHash } from 'node:crypto';
import type { BeginOptions } from './begin.ts';
import { type TableName, tableText } from './change/schema.ts';
import type { Config } from './config.ts';
import type { Source } from './connector.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { tableDirectories } from './sinks/parquet/layout.ts';
import { claimTopic, topicName } from './topic/naming.ts';
import { Outbox } from './topic/outbox.ts';
import { formOf } from './topic-form.ts';

/** Every pair is found before anything is published: half a table cannot be taken back. */
const refuseMeetingNames = (config: Config, tables: readonly TableName[]): void => {
  const claims = new Map<string, TableName>();
  for (const table of tables) claimTopic(claims, config.topic.prefix, table);
  if (config.table !== undefined) tableDirectories(tables.map(([namespace, name]) => ({ namespace, name })));
};

const MAX_IN_FLIGHT_BYTES = 32 << 20;

/** Ordinals of a half published transaction mean nothing under another selection of tables. */
const selectionOf = (config: Config): string =>
  createHash('sha256')
    .update(JSON.stringify((config.source as { tables?: unknown }).tables ?? null))
    .digest('hex')
    .slice(0, 16);

/** Everything that beginning needs, over an opened source. */
export const beginOptions = (
  parts: PipelineParts,
  source: Source,
  again: readonly TableName[],
): BeginOptions => {
  const { config, kind, publisher, claims, progress, nowMs, steadyMs, nowUs, packRecords } = parts;
  const rereadTables = new Set(again.map(tableText));
  const outbox = new Outbox({
    publisher,
    prefix: config.topic.prefix,
    block: source.block,
    readAgain: (table) => rereadTables.has(tableText(table)),
    ...formOf(config, { claims, onNotice: (notice) => progress.noticed(notice) }),
    nowUs,
    maxInFlightBytes: MAX_IN_FLIGHT_BYTES,
    pack: packRecords,
  });
  return {
    name: config.name,
    prefix: config.topic.prefix,
    kind,
    source,
    publisher,
    outbox,
    selection: selectionOf(config),
    snapshot: config.snapshot,
    capture: () => ({
      reader: source.log(),
      maxTransactionBytes: config.topic.max_transaction_mb << 20,
      topicOf: (table) => topicName(config.topic.prefix, table),
      nowMs: steadyMs,
      heartbeatMs: config.topic.format.heartbeat_ms,
      ...(config.topic.kind === 'kafka' ? { maxTransactionMs: config.topic.max_transaction_ms } : {}),
      onDurable: (checkpoint, events) => progress.captured(checkpoint, events),
    }),
    onProgress: (step) => progress.snapshot(step),
    onStep: (message) => progress.step(message),
    nowMs,
    refuseMeetingNames: (tables) => refuseMeetingNames(config, tables),
    again,
  };
};
