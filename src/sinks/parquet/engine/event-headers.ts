// Owns what a record says beside its row: its key, and in its headers the other half of a changed key, the
// columns that were not sent or were too large, the texts of values that only a text can say. Knows no event.
import { VarveError } from '../../../errors.ts';
import { type AvroValue, FRAME_LENGTH, readSchemaId } from '../../../topic/avro-read.ts';
import type { RecordView } from '../../../topic/record-batch-view.ts';
import { readKeyJson } from '../columns-key.ts';
import { type EngineValue, UNHELD } from '../columns-value.ts';
import type { RowPlan } from './envelope-plan.ts';
import { keyTextOf, UNKNOWN_KEY } from './key-text.ts';
import type { SchemaBook } from './schema-book.ts';

const utf8 = new TextDecoder();
const NO_IDS: readonly number[] = [];

/** A header's JSON; null: there is no such header. Throws `record_corrupt`. */
const readJson = (record: RecordView, name: string): unknown => {
  const header = record.header(name);
  if (header === null) return null;
  try {
    return JSON.parse(utf8.decode(header));
  } catch (cause) {
    throw new VarveError('record_corrupt', `The header ${name} of a record is no JSON.`, { cause });
  }
};

const notSo = (name: string): VarveError =>
  new VarveError('record_corrupt', `The header ${name} of a record does not say what it should.`);

/** Throws `record_corrupt`. */
const asNames = (value: unknown, header: string): string[] => {
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value;
  throw notSo(header);
};

/** Values of the key's columns; null when there is no key, or one of them is null or cannot be held. */
export const readKey = (record: RecordView, plan: RowPlan, book: SchemaBook): EngineValue[] | null => {
  const { bytes, keyStart, keyEnd } = record;
  if (keyStart < 0) return null;
  const reader = book.keyReader(readSchemaId(bytes, keyStart, keyEnd));
  const row = reader.read(bytes, keyStart + FRAME_LENGTH, keyEnd) as readonly AvroValue[];
  const values: EngineValue[] = [];
  for (const { field, convert } of plan.keyColumns) {
    const value = row[reader.fields.indexOf(field)];
    const converted = value === null || value === undefined ? UNHELD : convert(value);
    if (converted === UNHELD) return null;
    values.push(converted);
  }
  return values;
};

/**
 * The other half's key, where this is half of a changed key: as text for people, and as the engine has
 * it.
 */
export const readOtherKey = (
  record: RecordView,
  op: string,
  plan: RowPlan,
): { text: string; key: string } | null => {
  const header = record.header(op === 'd' ? '__debezium.newkey' : '__debezium.oldkey');
  if (header === null) return null;
  const text = utf8.decode(header);
  const values = readKeyJson(text, plan.keyColumns);
  return { text, key: values === null ? UNKNOWN_KEY : keyTextOf(values) };
};

/** Ids of the fields that the source did not send. */
export const readUnchanged = (record: RecordView, plan: RowPlan): readonly number[] => {
  const name = 'varve.unchanged';
  const names = readJson(record, name);
  return names === null ? NO_IDS : plan.fieldIds(asNames(names, name));
};

/** Names of the columns whose new values the topic did not take; null: it took all. */
export const readOversized = (record: RecordView): ReadonlySet<string> | null => {
  const name = 'varve.oversized';
  const said = readJson(record, name);
  return said === null ? null : new Set(asNames(Reflect.get(Object(said), 'columns'), name));
};

export const readTexts = (record: RecordView): Readonly<Record<string, string>> | null => {
  const name = 'varve.text';
  const texts = readJson(record, name);
  if (texts === null) return null;
  asNames(Object.values(Object(texts)), name);
  return texts as Record<string, string>;
};
