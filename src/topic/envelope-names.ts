// Owns the names and schemas of one table's records. Knows no value and no record.
import type { ConnectType } from '../change/schema.ts';
import { avroSchema } from './avro-schema.ts';
import { envelopeType, keyType } from './envelope-schema.ts';
import type { Names } from './format.ts';
import { fieldNames, recordName, topicName } from './naming.ts';
import type { PreparedTable, SourceBlock } from './prepared-table.ts';

export type PreparedEnvelope = {
  readonly table: PreparedTable;
  readonly source: SourceBlock;
  readonly topic: string;
  readonly keyType: ConnectType | null;
  /** Avro schema texts; the key's is null for a table without key. */
  readonly keySchema: string | null;
  readonly valueSchema: string;
  /** Avro field names, one a column. */
  readonly fields: string[];
};

type EnvelopeParts = {
  prefix: string;
  table: PreparedTable;
  source: SourceBlock;
  /** How names become Avro names. */
  names?: Names;
};

/**
 * Names and schemas of a table's records. Throws `name_collision` when two columns share a field name, or
 * Avro does not have a name that is not to be adjusted.
 */
export const prepareEnvelope = ({ prefix, table, source, names: mode }: EnvelopeParts): PreparedEnvelope => {
  const { schema } = table;
  const topic = topicName(prefix, schema.name);
  const fields = fieldNames(schema.name, schema.columns, mode);
  const names = { record: recordName(topic, mode), fields };
  const key = keyType(schema, names);
  return {
    table,
    source,
    topic,
    keyType: key,
    keySchema: key === null ? null : avroSchema(key),
    valueSchema: avroSchema(envelopeType(schema, names, source.type)),
    fields,
  };
};
