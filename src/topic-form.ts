// Owns what a pipeline file says about the form of what is published, in the words of those who publish.
import { type TableName, tableText } from './change/schema.ts';
import type { Config } from './config.ts';
import type { TopicConfig } from './config-topic.ts';
import type { ClaimStore } from './topic/envelope-oversized.ts';
import type { OutboxNotice, OutboxOptions } from './topic/outbox-options.ts';
import type { SubjectStrategy } from './topic/subject.ts';

/** An embedded topic files a schema under its text. */
export const subjectsOf = (topic: TopicConfig): SubjectStrategy =>
  topic.kind === 'kafka' ? topic.registry.subject_strategy : 'topic_name';

/** `claims`: where `claim_check` keeps values; null where the file names no place. */
type FormParts = { claims: ClaimStore | null; onNotice: (notice: OutboxNotice) => void };

type Form = Pick<
  OutboxOptions,
  | 'names'
  | 'tombstones'
  | 'subjects'
  | 'skip'
  | 'transactionTopic'
  | 'partitionsOf'
  | 'oversizedOf'
  | 'claims'
  | 'onNotice'
>;

export const formOf = ({ topic }: Config, { claims, onNotice }: FormParts): Form => {
  const { names, tombstones, skip, transaction_topic: transactionTopic } = topic.format;
  const form: Form = { names, tombstones, skip, transactionTopic, onNotice };
  if (topic.kind === 'embedded') return form;
  const { partitions, partition_overrides, oversized, oversized_overrides } = topic;
  return {
    ...form,
    subjects: subjectsOf(topic),
    partitionsOf: (table: TableName) => partition_overrides[tableText(table)] ?? partitions,
    oversizedOf: (table: TableName) => oversized_overrides[tableText(table)] ?? oversized,
    ...(claims === null ? {} : { claims }),
  };
};
