// Owns which type a source column has in the table and how its values get there: the one table of types,
// which docs/table-types.md prints. Knows no layout of a table, no file. Pure.
import type { ConnectType } from '../../change/schema.ts';
import {
  type Convert,
  convertBytes,
  convertDecimal,
  convertInstant,
  convertInteger,
  convertIsoDate,
  convertIsoTime,
  convertItems,
  convertJson,
  convertNanoInstant,
  convertNanoTime,
  convertPlain,
  convertTime,
  convertUuid,
  convertVariableDecimal,
  convertZoned,
} from './columns-value.ts';
import type { IcebergPrimitive, IcebergType } from './iceberg-type.ts';

type TypeRule = {
  /** The Connect type, or the logical name on top of it. */
  connect: string;
  /** The table's type, as people read it. */
  table: string;
  /** What becomes NULL and is named in `_incomplete`; empty: nothing. */
  unheld: string;
  type: (type: ConnectType) => IcebergPrimitive;
  convert: (type: ConnectType, target: IcebergType) => Convert;
};

type HowTo = TypeRule['convert'] | { convert: TypeRule['convert']; unheld: string };

const rule = (connect: string, table: IcebergPrimitive, how: HowTo): TypeRule => ({
  connect,
  table,
  unheld: '',
  type: () => table,
  ...(typeof how === 'function' ? { convert: how } : how),
});
/** A conversion, with what it cannot hold. */
const but = (convert: TypeRule['convert'], unheld: string): HowTo => ({ convert, unheld });
const just = (convert: Convert) => (): Convert => convert;

const MAX_PRECISION = 38;
const scaleOf = (type: ConnectType): number => Number(type.parameters?.scale ?? 0);

/** A decimal that the table can hold with all its digits, else text. */
const decimalType = (type: ConnectType): IcebergPrimitive => {
  const scale = scaleOf(type);
  const precision = Math.max(Number(type.parameters?.['connect.decimal.precision'] ?? Number.NaN), scale);
  const isHeld = scale >= 0 && precision >= 1 && precision <= MAX_PRECISION;
  return isHeld ? `decimal(${precision}, ${scale})` : 'string';
};

const FAR = 'infinity; years beyond 294247 and before 290309 BC';
const LATE = '24:00:00';
const connectData = (name: string): string => `org.apache.kafka.connect.data.${name}`;
const time = (name: string): string => `io.debezium.time.${name}`;
const data = (name: string): string => `io.debezium.data.${name}`;

export const TYPE_RULES: readonly TypeRule[] = [
  rule('boolean', 'boolean', just(convertPlain)),
  rule('int16', 'int', (_, target) => convertInteger(target)),
  rule('int32', 'int', (_, target) => convertInteger(target)),
  rule('int64', 'long', (_, target) => convertInteger(target)),
  rule('float32', 'float', just(convertPlain)),
  rule('float64', 'double', just(convertPlain)),
  rule('string', 'string', just(convertPlain)),
  rule('bytes', 'binary', just(convertBytes)),
  rule('map', 'string', convertJson),
  rule('struct', 'string', convertJson),
  {
    connect: connectData('Decimal'),
    table: 'decimal(p, s) where p is known and at most 38, else string',
    unheld: 'NaN and infinity in a decimal',
    type: decimalType,
    convert: (type, target) => convertDecimal(scaleOf(type), target),
  },
  rule(data('VariableScaleDecimal'), 'string', just(convertVariableDecimal)),
  rule(
    connectData('Date'),
    'date',
    but((_, target) => convertInteger(target), 'infinity'),
  ),
  rule(
    time('Date'),
    'date',
    but((_, target) => convertInteger(target), 'infinity'),
  ),
  rule(connectData('Time'), 'time', but(just(convertTime(1000n)), LATE)),
  rule(time('Time'), 'time', but(just(convertTime(1000n)), LATE)),
  rule(time('MicroTime'), 'time', but(just(convertTime(1n)), LATE)),
  rule(time('NanoTime'), 'time', but(just(convertNanoTime), `${LATE}; finer than a microsecond`)),
  rule(time('ZonedTime'), 'string', just(convertPlain)),
  rule(connectData('Timestamp'), 'timestamp', but(just(convertInstant(1000n)), FAR)),
  rule(time('Timestamp'), 'timestamp', but(just(convertInstant(1000n)), FAR)),
  rule(time('MicroTimestamp'), 'timestamp', but(just(convertInstant(1n)), FAR)),
  rule(time('NanoTimestamp'), 'timestamp', but(just(convertNanoInstant), `${FAR}; finer than a microsecond`)),
  rule(time('ZonedTimestamp'), 'timestamptz', but(just(convertZoned), `${FAR}; finer than a microsecond`)),
  rule(time('IsoDate'), 'date', but(just(convertIsoDate), 'infinity')),
  rule(time('IsoTime'), 'time', but(just(convertIsoTime), `${LATE}; finer than a microsecond`)),
  rule(time('IsoTimestamp'), 'timestamp', but(just(convertZoned), `${FAR}; finer than a microsecond`)),
  rule(time('Year'), 'int', (_, target) => convertInteger(target)),
  rule(time('Interval'), 'string', just(convertPlain)),
  rule(time('MicroDuration'), 'long', (_, target) => convertInteger(target)),
  rule(time('NanoDuration'), 'long', (_, target) => convertInteger(target)),
  rule(data('Uuid'), 'uuid', but(just(convertUuid), 'what is no UUID')),
  rule(data('Json'), 'string', just(convertPlain)),
  rule(data('Xml'), 'string', just(convertPlain)),
  rule(data('Enum'), 'string', just(convertPlain)),
  rule(data('EnumSet'), 'string', just(convertPlain)),
  rule(data('Bits'), 'binary', just(convertBytes)),
];

const RULES: ReadonlyMap<string, TypeRule> = new Map(TYPE_RULES.map((known) => [known.connect, known]));

/** A name that this table does not have says no more than the type under it. */
const ruleOf = (type: ConnectType): TypeRule => {
  const found = RULES.get(type.name ?? type.type) ?? RULES.get(type.type);
  if (found === undefined) throw new RangeError(`no rule for the Connect type ${type.type}`);
  return found;
};

/**
 * The type of a new column; an array's `element-id` is 0 until the layout gives it one. Arrays of arrays
 * hold text.
 */
export const tableType = (type: ConnectType): IcebergType => {
  if (type.type !== 'array') return ruleOf(type).type(type);
  const { items } = type;
  const element = items === undefined || items.type === 'array' ? 'string' : ruleOf(items).type(items);
  return { type: 'list', 'element-id': 0, element, 'element-required': false };
};

/** `target` is the type that the table's column has by now, which may be wider than the source's own. */
export const compileConvert = (type: ConnectType, target: IcebergType): Convert => {
  if (type.type !== 'array') return ruleOf(type).convert(type, target);
  const { items } = type;
  if (items === undefined || typeof target === 'string') return convertJson(type);
  const item = items.type === 'array' ? convertJson(items) : ruleOf(items).convert(items, target.element);
  return convertItems(item);
};
