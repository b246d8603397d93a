// Owns the names on the wire: topics, record names, field names, adjusted as Debezium adjusts them (`avro`
// mode). Adjusting loses letters, so two names may become one: that is refused here, with both names in the
// sentence.
import { type Column, sameTable, type TableName, tableText } from '../change/schema.ts';
import { VarveError } from '../errors.ts';

/** `<prefix>.<namespace>.<table>`; every UTF-16 unit outside `[A-Za-z0-9._-]` becomes `_`. */
export const topicName = (prefix: string, table: TableName): string =>
  `${prefix}.${table[0]}.${table[1]}`.replace(/[^A-Za-z0-9._-]/g, '_');

/**
 * Name of a topic's Avro records, without `.Key`, `.Value` or `.Envelope`. A part that starts with a digit
 * gets a `_` in front, because strict readers refuse it otherwise; the very first character is replaced, as
 * Debezium does.
 */
export const recordName = (topic: string): string =>
  topic
    .replace(/[^A-Za-z0-9_.]/g, '_')
    .replace(/^[^A-Za-z_]/, '_')
    .replace(/\.(?=[0-9.]|$)/g, '._');

/** `größe` -> `gr__e`, `1st` -> `_1st`. */
const fieldName = (column: string): string =>
  column.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?=[0-9]|$)/, '_');

/**
 * Avro field names of a table's columns, in their order. Throws `name_collision` when two columns share one.
 */
export const fieldNames = (table: TableName, columns: readonly Column[]): string[] => {
  const owners = new Map<string, string>();
  return columns.map(({ name }) => {
    const field = fieldName(name);
    const other = owners.get(field);
    if (other !== undefined) {
      throw new VarveError(
        'name_collision',
        `Columns ${JSON.stringify(other)} and ${JSON.stringify(name)} of ${tableText(table)} would both be ` +
          `the field ${field}. Rename one of them, or leave one out of the capture.`,
        { facts: { table: tableText(table), column: name, other, field } },
      );
    }
    owners.set(field, name);
    return field;
  });
};

/** Topics of Varve itself, under the same prefix. */
const OWN_TOPICS = ['transaction', 'varve.state', 'varve.dead'];

/**
 * The table's topic, entered into `claims` (topic -> table). Throws `name_collision` when another table has
 * it, or Varve itself; call it for every table before its first record, later ones included.
 */
export const claimTopic = (claims: Map<string, TableName>, prefix: string, table: TableName): string => {
  const topic = topicName(prefix, table);
  const other = claims.get(topic);
  const isOwn = OWN_TOPICS.some((name) => topic === `${prefix}.${name}`);
  if (isOwn || (other !== undefined && !sameTable(other, table))) {
    const whose = other === undefined ? 'Varve itself' : JSON.stringify(tableText(other));
    throw new VarveError(
      'name_collision',
      `Table ${JSON.stringify(tableText(table))} would be published on the topic ${topic}, which belongs ` +
        `to ${whose}. Leave one of them out of the capture, rename it, or give it a pipeline of its own.`,
      { facts: { table: tableText(table), other: other === undefined ? null : tableText(other), topic } },
    );
  }
  claims.set(topic, table);
  return topic;
};
