// Owns the Avro schema text of a Connect type, printed as Debezium's users have it registered: the properties
// and their order, the unions and their order. Knows no table and no value.
import type { ConnectDefault, ConnectField, ConnectType } from '../change/schema.ts';
import { VarveError } from '../errors.ts';

const AVRO_PRIMITIVE = {
  boolean: 'boolean',
  int16: 'int',
  int32: 'int',
  int64: 'long',
  float32: 'float',
  float64: 'double',
  string: 'string',
  bytes: 'bytes',
} as const;

export const DECIMAL = 'org.apache.kafka.connect.data.Decimal';

const LOGICAL_TYPE: Readonly<Record<string, string>> = {
  [DECIMAL]: 'decimal',
  'org.apache.kafka.connect.data.Date': 'date',
  'org.apache.kafka.connect.data.Time': 'time-millis',
  'org.apache.kafka.connect.data.Timestamp': 'timestamp-millis',
};

/** What the registered schemas say for a decimal whose precision nobody told. */
const UNTOLD_PRECISION = '64';

/** The default as JSON text; null where there is none or a schema cannot hold it (NaN, a struct). */
export const defaultText = (type: ConnectType, value: ConnectDefault | undefined): string | null => {
  if (value === undefined || value === null || !(type.type in AVRO_PRIMITIVE)) return null;
  if (type.type === 'int64' && typeof value === 'string') return BigInt(value).toString();
  if (typeof value === 'string' && type.type !== 'string' && type.type !== 'bytes') return null;
  return typeof value === 'number' && !Number.isFinite(value) ? null : JSON.stringify(value);
};

const printObject = (members: readonly (readonly [string, string | null | undefined])[]): string =>
  `{${members
    .filter(([, text]) => text !== null && text !== undefined)
    .map(([name, text]) => `${JSON.stringify(name)}:${text}`)
    .join(',')}}`;

const quote = (value: unknown): string | undefined => JSON.stringify(value);

class SchemaPrinter {
  /** A record is spelt out where it comes first and named ever after. */
  readonly #defined = new Set<string>();

  type(type: ConnectType, space: string, defaultValue: string | null): string {
    switch (type.type) {
      case 'struct':
        return this.#record(type, space);
      case 'array':
        return this.#annotated(
          type,
          [
            ['type', '"array"'],
            ['items', this.#items(type, space)],
          ],
          null,
        );
      case 'map':
        return this.#annotated(
          type,
          [
            ['type', '"map"'],
            ['values', this.#items(type, space)],
          ],
          null,
        );
      default:
        return this.#primitive(type, AVRO_PRIMITIVE[type.type], defaultValue);
    }
  }

  #primitive(type: ConnectType, primitive: string, defaultValue: string | null): string {
    const { scale, 'connect.decimal.precision': precision = UNTOLD_PRECISION } = type.parameters ?? {};
    const isDecimal = type.name === DECIMAL;
    const members = [
      ['type', quote(primitive)],
      ['scale', isDecimal ? scale : null],
      ['precision', isDecimal ? precision : null],
    ] as const;
    return this.#annotated(type, members, defaultValue);
  }

  #annotated(
    type: ConnectType,
    members: readonly (readonly [string, string | null | undefined])[],
    defaultValue: string | null,
  ): string {
    const text = printObject([
      ...members,
      ['connect.doc', quote(type.doc)],
      ['connect.version', quote(type.version)],
      ['connect.parameters', quote(type.parameters)],
      ['connect.default', defaultValue],
      ['connect.name', quote(type.name)],
      ['connect.type', type.type === 'int16' ? '"int16"' : null],
      ['logicalType', quote(LOGICAL_TYPE[type.name ?? ''])],
    ]);
    // A type without any annotation is its bare name.
    return type.type in AVRO_PRIMITIVE ? (/^\{"type":("[a-z]+")\}$/.exec(text)?.[1] ?? text) : text;
  }

  #items({ items, type }: ConnectType, space: string): string {
    if (items === undefined)
      throw new VarveError('internal', `A type ${type} does not say what its items are.`);
    const text = this.type(items, space, null);
    return items.optional ? `["null",${text}]` : text;
  }

  #record(type: ConnectType, enclosing: string): string {
    const { name, fields } = type;
    if (name === undefined || fields === undefined) {
      throw new VarveError('internal', 'A struct has no name or no fields.');
    }
    const dot = name.lastIndexOf('.');
    const space = name.slice(0, Math.max(dot, 0));
    const short = name.slice(dot + 1);
    if (this.#defined.has(name)) return quote(space === enclosing ? short : name) as string;
    this.#defined.add(name);
    const members = [
      ['type', '"record"'],
      ['name', quote(short)],
      ['namespace', space === enclosing ? null : quote(space)],
      ['fields', `[${fields.map((field) => this.#field(field, space)).join(',')}]`],
    ] as const;
    return this.#annotated(type, members, null);
  }

  #field(field: ConnectField, space: string): string {
    const defaultValue = defaultText(field.type, field.default);
    const type = this.type(field.type, space, defaultValue);
    const union = defaultValue === null ? `["null",${type}]` : `[${type},"null"]`;
    return printObject([
      ['name', quote(field.field)],
      ['type', field.optional ? union : type],
      ['default', defaultValue ?? (field.optional ? 'null' : null)],
    ]);
  }
}

/**
 * Schema text of a required value of this type. Named structs are spelt out once, in the order of the fields.
 */
export const avroSchema = (type: ConnectType): string => new SchemaPrinter().type(type, '', null);
