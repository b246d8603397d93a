// Owns where rows lie: the partition tuple of each row of a relation, by SQL, and the rows of each tuple.
// Knows no file.
import { bucketsOf } from '../iceberg/partition.ts';
import type {
  IcebergField,
  IcebergPrimitive,
  PartitionField,
  PartitionSpec,
  PartitionValue,
} from '../iceberg-type.ts';
import { hashOfValue } from './buckets.ts';
import type { Database } from './database.ts';
import { columnOf, quoteText } from './sql.ts';

const HOUR_US = 3_600_000_000;

type PlaceValue = { sql: string; type: IcebergPrimitive };

/** SQL and type of a row's value for one partition field. */
const placeOf = (database: Database, { transform }: PartitionField, source: IcebergField): PlaceValue => {
  const column = columnOf(source);
  const type = source.type as IcebergPrimitive;
  const count = bucketsOf(transform);
  if (count !== null) {
    const hash = `varve_hash_${type.replaceAll(/[^a-z0-9]/g, '_')}`;
    database.define(hash, { takes: type, gives: 'int', value: (value) => hashOfValue(type, value) });
    return { sql: `${hash}(${column}) % ${count}`, type: 'int' };
  }
  if (transform === 'day') return { sql: `CAST(${column} AS DATE)`, type: 'date' };
  // Downward also before 1970, and exact.
  const rest = `((epoch_us(${column}) % ${HOUR_US}) + ${HOUR_US}) % ${HOUR_US}`;
  if (transform === 'hour')
    return { sql: `CAST((epoch_us(${column}) - ${rest}) // ${HOUR_US} AS INTEGER)`, type: 'int' };
  return { sql: column, type };
};

const literal = (value: PartitionValue, type: IcebergPrimitive): string => {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return quoteText(value);
  return type === 'date' ? `DATE '1970-01-01' + ${value}` : String(value);
};

type Place = { values: readonly PartitionValue[]; select: string };

/**
 * Keeps the rows of `from`, whose columns are named by field id, in `placed_row`, and gives each tuple of the
 * spec's fields from number `known` on, with the rows that have it.
 */
export const placeRows = async (
  database: Database,
  from: string,
  { fields, spec, known }: { fields: readonly IcebergField[]; spec: PartitionSpec; known: number },
): Promise<readonly Place[]> => {
  const places = spec.fields.slice(known).map((field) => {
    const source = fields.find(({ id }) => id === field.sourceId);
    if (source === undefined) throw new RangeError(`no column has the field id ${field.sourceId}`);
    return placeOf(database, field, source);
  });
  const named = places.map(({ sql }, at) => `${sql} AS place_${at}`).join(', ');
  await database.run(`CREATE OR REPLACE TEMP TABLE placed_row AS SELECT r.*, ${named} FROM ${from} r`);
  const names = places.map((_, at) => `place_${at}`).join(', ');
  const types = places.map(({ type }) => type);
  const found: Place[] = [];
  const visit = (columns: readonly (readonly unknown[])[], rows: number): void => {
    for (let row = 0; row < rows; row++) {
      const values = columns.map((column) => (column[row] ?? null) as PartitionValue);
      const terms = values.map(
        (value, at) => `place_${at} IS NOT DISTINCT FROM ${literal(value, types[at] ?? 'int')}`,
      );
      found.push({ values, select: `(SELECT * FROM placed_row WHERE ${terms.join(' AND ')})` });
    }
  };
  await database.read(`SELECT DISTINCT ${names} FROM placed_row ORDER BY ALL`, types, visit);
  return found;
};

export const dropPlaces = (database: Database): Promise<void> =>
  database.run('DROP TABLE IF EXISTS placed_row');
