// Owns the names on the wire: topics, record names, field names, adjusted as Debezium adjusts them. Adjusting
// may lose letters, so two names may become one: that is refused here, with both names in the sentence, and
// so is a name that Avro does not have when nothing is adjusted.
import { type Column, sameTable, type TableName, tableText } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import type { Names } from './format.ts';

/** `<prefix>.<namespace>.<table>`; every UTF-16 unit outside `[A-Za-z0-9._-]` becomes `_`. */
export const topicName = (prefix: string, table: TableName): string =>
  `${prefix}.${table[0]}.${table[1]}`.replace(/[^A-Za-z0-9._-]/g, '_');

/** What Debezium writes for a UTF-16 unit in mode `avro_unicode`. */
const escapeUnit = (unit: string): string => {
  const hex = unit.charCodeAt(0).toString(16);
  return `_u${hex.length <= 2 ? `00${hex}` : hex}`;
};

/** Letters beyond ASCII are in no specification of Avro, and in its Java library. */
const AVRO_NAME = /^[\p{L}_][\p{L}\p{Nd}_]*$/u;

const refuseName = (name: string, what: string): VarveError =>
  new VarveError(
    'name_collision',
    `${what} ${JSON.stringify(name)} is no name in Avro, and topic.format.names is none, so nothing is ` +
      'adjusted. Set it to avro or avro_unicode, rename it, or leave it out of the capture.',
    { facts: { name } },
  );

/**
 * A part that starts with a digit gets a `_` in front, because strict readers refuse it otherwise; the very
 * first character is replaced, as Debezium does.
 */
const RECORD_NAME: Readonly<Record<Names, (topic: string) => string>> = {
  avro: (topic) =>
    topic
      .replace(/[^A-Za-z0-9_.]/g, '_')
      .replace(/^[^A-Za-z_]/, '_')
      .replace(/\.(?=[0-9.]|$)/g, '._'),
  avro_unicode: (topic) => topic.replace(/[^A-Za-z0-9.]|(?<=^|\.)[0-9]/g, escapeUnit),
  none: (topic) => {
    if (topic.split('.').every((part) => AVRO_NAME.test(part))) return topic;
    throw refuseName(topic, 'The topic');
  },
};

const FIELD_NAME: Readonly<Record<Names, (column: string) => string>> = {
  avro: (column) => column.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?=[0-9]|$)/, '_'),
  avro_unicode: (column) => column.replace(/[^A-Za-z0-9]|^[0-9]/g, escapeUnit),
  none: (column) => {
    if (AVRO_NAME.test(column)) return column;
    throw refuseName(column, 'The column');
  },
};

/**
 * Name of a topic's Avro records, without `.Key`, `.Value` or `.Envelope`. Throws `name_collision` for one
 * that Avro does not have.
 */
export const recordName = (topic: string, names: Names = 'avro'): string => RECORD_NAME[names](topic);

/**
 * Avro field names of a table's columns, in their order: `größe` -> `gr__e`, `1st` -> `_1st`. Throws
 * `name_collision` when two columns share one, or Avro does not have it.
 */
export const fieldNames = (
  table: TableName,
  columns: readonly Pick<Column, 'name'>[],
  names: Names = 'avro',
): string[] => {
  const owners = new Map<string, string>();
  return columns.map(({ name }) => {
    const field = FIELD_NAME[names](name);
    const other = owners.get(field);
    if (other !== undefined) {
      throw new VarveError(
        'name_collision',
        `Columns ${JSON.stringify(other)} and ${JSON.stringify(name)} of ${tableText(table)} would both be ` +
          `the field ${field}. Set topic.format.names to avro_unicode, rename one of them, or drop one ` +
          '(columns).',
        { facts: { table: tableText(table), column: name, other, field } },
      );
    }
    owners.set(field, name);
    return field;
  });
};

export const heartbeatTopic = (prefix: string): string => `__debezium-heartbeat.${prefix}`;

/** Topics of Varve itself. */
export const ownNames = (prefix: string): readonly string[] => [
  ...['transaction', 'varve.state', 'varve.dead'].map((name) => `${prefix}.${name}`),
  heartbeatTopic(prefix),
];

/**
 * The table's topic, entered into `claims` (topic -> table). Throws `name_collision` when another table has
 * it, or Varve itself; call it for every table before its first record, later ones included.
 */
export const claimTopic = (claims: Map<string, TableName>, prefix: string, table: TableName): string => {
  const topic = topicName(prefix, table);
  const other = claims.get(topic);
  const isOwn = ownNames(prefix).includes(topic);
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
