// Owns where a change event keeps what the table needs: one plan a writer schema, made once. Knows no
// record batch.
import type { Column } from '../../../change/schema.ts';
import { VarveError } from '../../../errors.ts';
import { type AvroValue, compileReader } from '../../../topic/avro-read.ts';
import type { SchemaRecord } from '../../../topic/state.ts';
import { compileConvert } from '../columns.ts';
import type { KeyColumn } from '../columns-key.ts';
import { fieldOfColumn, type TableLayout } from '../columns-layout.ts';
import { type Convert, convertText, type EngineValue, UNHELD } from '../columns-value.ts';
import type { IcebergField, IcebergType } from '../iceberg-type.ts';

type AvroField = { name: string; type: unknown };

/** Field names of the record at `path` of a schema, looking through unions and named references. */
const fieldsOf = (schema: unknown, path: readonly string[]): readonly string[] => {
  const records = new Map<string, { fields: AvroField[] }>();
  const collect = (type: unknown): void => {
    if (Array.isArray(type)) for (const branch of type) collect(branch);
    if (typeof type !== 'object' || type === null || Array.isArray(type)) return;
    const { type: kind, name, namespace, fields } = type as Record<string, unknown>;
    if (kind === 'record') {
      const record = type as { fields: AvroField[] };
      records.set(`${name}`, record);
      if (namespace !== undefined) records.set(`${namespace}.${name}`, record);
      for (const field of fields as AvroField[]) collect(field.type);
    } else if (typeof kind === 'object') collect(kind);
  };
  collect(schema);
  const recordOf = (type: unknown): { fields: AvroField[] } | undefined => {
    if (typeof type === 'string')
      return records.get(type) ?? records.get(type.slice(type.lastIndexOf('.') + 1));
    if (Array.isArray(type)) return recordOf(type.find((branch) => branch !== 'null'));
    return type as { fields: AvroField[] };
  };
  let record = recordOf(schema);
  for (const name of path) record = recordOf(record?.fields?.find((field) => field.name === name)?.type);
  return record?.fields?.map(({ name }) => name) ?? [];
};

/** The event's fields, by position; -1: the schema has none such. */
type Places = { before: number; after: number; op: number; source: number; transaction: number; id: number };
type SourcePlaces = { micros: number; millis: number; tx: number };

/** Names under which a source block keeps its transaction, the first that is there. */
const TX_FIELDS = ['txId', 'commit_id'];
const SOURCE_FIELDS: ReadonlySet<string> = new Set(['ts_us', 'ts_ms', ...TX_FIELDS]);
/** When the event was made, which no table shows. */
const CLOCKS: ReadonlySet<string> = new Set(['ts_ms', 'ts_us', 'ts_ns']);

export type EventReader = {
  read: ReturnType<typeof compileReader>;
  places: Places;
  source: SourcePlaces;
  /** Names of the row's fields, by position. */
  row: readonly string[];
};

/** `rows`: which images are read; the other one, and most of the source block, costs little. */
export const planEvent = (schemaText: string, { before }: { before: boolean }): EventReader => {
  const schema: unknown = JSON.parse(schemaText);
  const event = fieldsOf(schema, []);
  const source = fieldsOf(schema, ['source']);
  const tx = TX_FIELDS.find((name) => source.includes(name));
  const skip = (path: string): boolean =>
    CLOCKS.has(path) ||
    (!before && path === 'before') ||
    (path.startsWith('source.') && !SOURCE_FIELDS.has(path.slice(7)));
  const read = compileReader(schemaText, { records: 'arrays', skip });
  return {
    read,
    row: fieldsOf(schema, ['after']),
    places: {
      before: event.indexOf('before'),
      after: event.indexOf('after'),
      op: event.indexOf('op'),
      source: event.indexOf('source'),
      transaction: event.indexOf('transaction'),
      id: fieldsOf(schema, ['transaction']).indexOf('id'),
    },
    source: {
      micros: source.indexOf('ts_us'),
      millis: source.indexOf('ts_ms'),
      tx: tx === undefined ? -1 : source.indexOf(tx),
    },
  };
};

/** Commit time in microseconds. */
export const commitTime = (event: readonly AvroValue[], { places, source }: EventReader): bigint => {
  const block = event[places.source] as readonly AvroValue[] | undefined;
  const micros = block?.[source.micros];
  if (typeof micros === 'bigint') return micros;
  const millis = block?.[source.millis];
  if (typeof millis === 'bigint') return millis * 1000n;
  throw new VarveError('record_corrupt', 'A change event does not say when its transaction was committed.');
};

export const transactionId = (event: readonly AvroValue[], { places, source }: EventReader): string => {
  const block = event[places.transaction];
  const id = Array.isArray(block) ? (block as readonly AvroValue[])[places.id] : null;
  const own = (event[places.source] as readonly AvroValue[] | undefined)?.[source.tx];
  return String(id ?? own ?? '');
};

type RowColumn = {
  from: number;
  to: number;
  name: string;
  fieldName: string;
  type: IcebergType;
  convert: Convert;
};

/** What a record's headers say of its row. */
type BesideRow = { texts: Readonly<Record<string, string>> | null; oversized: ReadonlySet<string> | null };

/** How the rows of one schema record become the table's: columns by id, not by name. */
export class RowPlan {
  readonly #columns: readonly RowColumn[];
  readonly #fieldIds: ReadonlyMap<string, number>;
  readonly keyColumns: readonly KeyColumn[];
  /** Places of the key's columns among the table's, in key order. */
  readonly keyPlaces: readonly number[];

  constructor(record: SchemaRecord, layout: TableLayout, row: readonly string[]) {
    const targetOf = (column: Column): { field: IcebergField; at: number } | undefined => {
      const field = fieldOfColumn(layout, column);
      return field === null ? undefined : { field, at: layout.fields.indexOf(field) };
    };
    this.#columns = record.columns.flatMap((column, at) => {
      const target = targetOf(column);
      const from = row.indexOf(record.fields[at] as string);
      if (target === undefined || from < 0) return [];
      const { type, name: fieldName } = target.field;
      return [
        {
          from,
          to: target.at,
          name: column.name,
          fieldName,
          type,
          convert: compileConvert(column.type, type),
        },
      ];
    });
    this.#fieldIds = new Map(
      record.columns.flatMap((column) => {
        const target = targetOf(column);
        return target === undefined ? [] : [[column.name, target.field.id]];
      }),
    );
    this.keyPlaces = record.key.map((at) => targetOf(record.columns[at] as Column)?.at ?? -1);
    this.keyColumns = record.key.map((at) => {
      const column = record.columns[at] as Column;
      const target = targetOf(column);
      const type = target?.field.type ?? 'string';
      return {
        field: record.fields[at] as string,
        type: column.type,
        convert: compileConvert(column.type, type),
      };
    });
  }

  /**
   * Fills `values`, all null, by the table's columns; `texts` holds what only the source's own text can say,
   * `oversized` names the columns of which the row has no value. Returns the names of the columns that exist
   * and cannot be held, sorted; null: there are none.
   */
  convert(
    row: readonly AvroValue[],
    { texts, oversized }: BesideRow,
    values: EngineValue[],
  ): readonly string[] | null {
    let incomplete: string[] | null = null;
    for (const { from, to, name, fieldName, type, convert } of this.#columns) {
      const value = row[from] as AvroValue;
      const text = texts?.[name];
      const converted = text !== undefined ? convertText(type, text) : value === null ? null : convert(value);
      if (converted === UNHELD || oversized?.has(name) === true) {
        incomplete ??= [];
        incomplete.push(fieldName);
      } else values[to] = converted;
    }
    return incomplete === null ? null : incomplete.sort();
  }

  /** Field ids of source columns, sorted; those that the table does not have are left out. */
  fieldIds(names: readonly string[]): number[] {
    return names
      .map((name) => this.#fieldIds.get(name) ?? -1)
      .filter((id) => id >= 0)
      .sort((a, b) => a - b);
  }
}
