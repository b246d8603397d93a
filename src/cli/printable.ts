// Owns how a decoded value is shown to people and in --json: numbers exact, times as ISO text, bytes as hex.
import type { ConnectType } from '../change/schema.ts';
import { bigIntOf, decimalText, type EngineValue } from '../sinks/parquet/columns-value.ts';
import type { IcebergType } from '../sinks/parquet/iceberg-type.ts';
import type { AvroValue } from '../topic/avro-read.ts';

export type Printable = null | boolean | number | string | Printable[] | { [name: string]: Printable };

const MICROS_A_SECOND = 1_000_000n;
const floorDiv = (value: bigint, by: bigint): bigint => (value - (((value % by) + by) % by)) / by;

/**
 * Days since 1970-01-01 of the proleptic Gregorian calendar, as ISO text; years beyond four digits carry a
 * sign.
 */
export const dateText = (days: bigint): string => {
  // Civil-from-days over 400-year eras; Date cannot hold the years that databases can.
  const shifted = days + 719_468n;
  const era = floorDiv(shifted, 146_097n);
  const dayOfEra = shifted - era * 146_097n;
  const yearOfEra = (dayOfEra - dayOfEra / 1460n + dayOfEra / 36_524n - dayOfEra / 146_096n) / 365n;
  const dayOfYear = dayOfEra - (365n * yearOfEra + yearOfEra / 4n - yearOfEra / 100n);
  const shiftedMonth = (5n * dayOfYear + 2n) / 153n;
  const day = dayOfYear - (153n * shiftedMonth + 2n) / 5n + 1n;
  const month = shiftedMonth < 10n ? shiftedMonth + 3n : shiftedMonth - 9n;
  const year = yearOfEra + era * 400n + (month <= 2n ? 1n : 0n);
  const yearText =
    year >= 0n && year <= 9999n
      ? year.toString().padStart(4, '0')
      : `${year < 0n ? '-' : '+'}${(year < 0n ? -year : year).toString().padStart(6, '0')}`;
  return `${yearText}-${month.toString().padStart(2, '0')}-${day.toString().padStart(2, '0')}`;
};

/** Microseconds of a day as hh:mm:ss.ffffff, without trailing zeros of the fraction. */
export const timeText = (micros: bigint): string => {
  const seconds = micros / MICROS_A_SECOND;
  const part = (value: bigint): string => value.toString().padStart(2, '0');
  const fraction = (micros % MICROS_A_SECOND).toString().padStart(6, '0').replace(/0+$/, '');
  const whole = `${part(seconds / 3600n)}:${part((seconds / 60n) % 60n)}:${part(seconds % 60n)}`;
  return fraction === '' ? whole : `${whole}.${fraction}`;
};

/** Microseconds since 1970-01-01 UTC as ISO text without zone. */
export const timestampText = (micros: bigint): string => {
  const days = floorDiv(micros, 86_400n * MICROS_A_SECOND);
  return `${dateText(days)}T${timeText(micros - days * 86_400n * MICROS_A_SECOND)}`;
};

const KILO = 1000n;

/** Nanoseconds that are no whole microseconds stay a number. */
const ofNanos =
  (print: (micros: bigint) => string) =>
  (value: AvroValue): Printable =>
    (value as bigint) % KILO === 0n ? print((value as bigint) / KILO) : plain(value);

const date = (value: AvroValue): Printable => dateText(BigInt(value as number));
const millisTime = (value: AvroValue): Printable => timeText(BigInt(value as number) * KILO);
const millisTimestamp = (value: AvroValue): Printable => timestampText((value as bigint) * KILO);

const LOGICAL: Readonly<Record<string, (value: AvroValue, type: ConnectType) => Printable>> = {
  'org.apache.kafka.connect.data.Decimal': (value, { parameters }) =>
    decimalText(bigIntOf(value as Uint8Array), Number(parameters?.scale ?? 0)),
  'org.apache.kafka.connect.data.Date': date,
  'org.apache.kafka.connect.data.Time': millisTime,
  'org.apache.kafka.connect.data.Timestamp': millisTimestamp,
  'io.debezium.time.Date': date,
  'io.debezium.time.Time': millisTime,
  'io.debezium.time.MicroTime': (value) => timeText(value as bigint),
  'io.debezium.time.NanoTime': ofNanos(timeText),
  'io.debezium.time.Timestamp': millisTimestamp,
  'io.debezium.time.MicroTimestamp': (value) => timestampText(value as bigint),
  'io.debezium.time.NanoTimestamp': ofNanos(timestampText),
  'io.debezium.data.VariableScaleDecimal': (value) => {
    const { scale, value: bytes } = value as { scale: number; value: Uint8Array };
    return decimalText(bigIntOf(bytes), scale);
  },
};

const plain = (value: AvroValue): Printable => {
  if (typeof value === 'bigint')
    return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item as AvroValue)]));
  }
  return value as Printable;
};

export const printable = (value: AvroValue, type: ConnectType): Printable => {
  if (value === null) return null;
  const logical = type.name === undefined ? undefined : LOGICAL[type.name];
  if (logical) return logical(value, type);
  const items = type.items;
  if (items && Array.isArray(value)) return value.map((item) => printable(item as AvroValue, items));
  return plain(value);
};

const byIcebergType = (value: Exclude<EngineValue, null>, type: IcebergType): Printable => {
  if (typeof type !== 'string')
    return (value as readonly EngineValue[]).map((item) => printableCell(item, type.element));
  switch (type) {
    case 'date':
      return dateText(BigInt(value as number));
    case 'time':
      return timeText(value as bigint);
    case 'timestamp':
      return timestampText(value as bigint);
    case 'timestamptz':
      return `${timestampText(value as bigint)}Z`;
    default: {
      const scale = /^decimal\([0-9]+, ([0-9]+)\)$/.exec(type)?.[1];
      return scale === undefined ? plain(value as AvroValue) : decimalText(value as bigint, Number(scale));
    }
  }
};

/** A cell of a table, by its column's type. */
export const printableCell = (value: EngineValue, type: IcebergType): Printable =>
  value === null ? null : byIcebergType(value, type);
