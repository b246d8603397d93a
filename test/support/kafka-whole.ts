// Owns the judgement over a pipeline on Kafka: its topics, read by a stranger, and its ledger's table are
// what the source's audit says. Starts nothing.
import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { KAFKA_PARTITIONS } from './kafka-stage.ts';
import { readLedger } from './ledger-table.ts';
import { askOracle, compareWithOracle } from './oracle.ts';
import { checkTopics, type TopicRules } from './topic-check.ts';
import { AUDITED, readSource } from './topic-oracle.ts';
import { readTopics } from './topic-reader.ts';
import type { TopicRecord } from './topic-rows.ts';

type PublishedAs = {
  readonly brokers: readonly string[];
  readonly registry: string;
  readonly prefix: string;
};

/** Tables that a test makes beside the oracle's have no audit. */
export const checkPublished = async (
  admin: Client,
  published: PublishedAs,
  rules: Pick<TopicRules, 'since'> & Partial<TopicRules>,
): Promise<readonly TopicRecord[]> => {
  const records = (await readTopics(published)).filter(({ table }) => AUDITED.includes(table));
  assert.ok(records.length > 0, 'nothing was published');
  checkTopics(await readSource(admin), records, { partitions: KAFKA_PARTITIONS, ...rules });
  return records;
};

/** `holes`: a start was interrupted, so that the table has the snapshots of several epochs. */
export const checkFolded = async (
  admin: Client,
  tables: string,
  { since, holes }: { since: bigint; holes: boolean },
): Promise<void> => {
  compareWithOracle(await askOracle(admin), await readLedger(tables), { since, holes });
};
