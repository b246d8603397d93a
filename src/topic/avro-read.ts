// Owns reading Avro: a schema text becomes closures, once, that turn bytes into plain values. Logical types
// stay what they are made of. Trusts no byte: a damaged value throws `record_corrupt`; it never hangs and
// never reads past its end.
import { VarveError } from '../errors.ts';
import { AvroCursor } from './avro-cursor.ts';

/**
 * int, float, double: number. long: bigint, always. bytes, fixed: a view on the input, so whoever outlives
 * the input copies it. enum: its symbol. Maps and records: objects without a prototype; records on request
 * arrays instead.
 */
export type AvroValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | AvroValue[]
  | { [field: string]: AvroValue };

type ReadOptions = {
  /** `arrays`: a record is the array of its values in field order; much faster. */
  records?: 'objects' | 'arrays';
  /**
   * Dotted paths of record fields to leave out, such as `source.version`: they read as null and cost little.
   * A named type has the path of the place that spells it out.
   */
  skip?: (path: string) => boolean;
};

type ReadAvro = (bytes: Uint8Array, start: number, end: number) => AvroValue;

type Read = (cursor: AvroCursor) => AvroValue;
/** `isEmpty`: its values take no bytes. */
type Node = { read: Read; skip: (cursor: AvroCursor) => void; isEmpty: boolean };
type Schema = string | Schema[] | { [key: string]: unknown; type: Schema };

const skipLong = (cursor: AvroCursor): void => cursor.skipVarint();
const skipPrefixed = (cursor: AvroCursor): void => {
  cursor.take(cursor.length());
};
const skipBytes = (count: number) => (cursor: AvroCursor) => {
  cursor.take(count);
};
const node = (read: Read, skip: Node['skip'], isEmpty = false): Node => ({ read, skip, isEmpty });

const PRIMITIVES: ReadonlyMap<string, Node> = new Map([
  [
    'null',
    node(
      () => null,
      () => undefined,
      true,
    ),
  ],
  ['boolean', node((cursor) => cursor.byte() !== 0, skipBytes(1))],
  ['int', node((cursor) => cursor.int(), skipLong)],
  ['long', node((cursor) => cursor.long(), skipLong)],
  ['float', node((cursor) => cursor.float(), skipBytes(4))],
  ['double', node((cursor) => cursor.double(), skipBytes(8))],
  ['bytes', node((cursor) => cursor.view(cursor.length()), skipPrefixed)],
  ['string', node((cursor) => cursor.text(cursor.length()), skipPrefixed)],
]);

const refuse = (why: string): VarveError =>
  new VarveError(
    'schema_incompatible',
    `An Avro schema cannot be read: ${why}. Read the topic with its own schemas.`,
  );

/**
 * Blocks of items until an empty one. An item takes a byte or more, so a count beyond what is left is a lie.
 */
const readBlocks = (cursor: AvroCursor, item: (cursor: AvroCursor) => void): void => {
  for (let count = cursor.int(); count !== 0; count = cursor.int()) {
    if (count < 0) cursor.skipVarint();
    const items = Math.abs(count);
    if (items > cursor.end - cursor.pos) throw new RangeError('a block runs past the end');
    for (let left = items; left > 0; left--) item(cursor);
  }
};

const readArray = ({ read, skip }: Node): Node =>
  node(
    (cursor) => {
      const items: AvroValue[] = [];
      readBlocks(cursor, () => items.push(read(cursor)));
      return items;
    },
    (cursor) => readBlocks(cursor, skip),
  );

const readMap = ({ read, skip }: Node): Node =>
  node(
    (cursor) => {
      const entries: { [key: string]: AvroValue } = Object.create(null);
      readBlocks(cursor, () => {
        const key = cursor.text(cursor.length());
        entries[key] = read(cursor);
      });
      return entries;
    },
    (cursor) =>
      readBlocks(cursor, () => {
        skipPrefixed(cursor);
        skip(cursor);
      }),
  );

const readUnion = (branches: readonly Node[]): Node => {
  const pick = (cursor: AvroCursor): Node => {
    const branch = branches[cursor.int()];
    if (branch === undefined) throw new RangeError('a union has no such branch');
    return branch;
  };
  return node(
    (cursor) => pick(cursor).read(cursor),
    (cursor) => pick(cursor).skip(cursor),
  );
};

/** The union of null and one type, by far the most frequent one: its branch is a byte. */
const readOptional = ({ read, skip }: Node, valueBranch: number): Node => {
  const isValue = (cursor: AvroCursor): boolean => {
    const branch = cursor.byte();
    if (branch !== 0 && branch !== 2) throw new RangeError('a union has no such branch');
    return branch === valueBranch;
  };
  return node(
    (cursor) => (isValue(cursor) ? read(cursor) : null),
    (cursor) => {
      if (isValue(cursor)) skip(cursor);
    },
  );
};

const readAsArray =
  (reads: readonly Read[]): Read =>
  (cursor) => {
    const values = new Array<AvroValue>(reads.length);
    for (let at = 0; at < reads.length; at++) values[at] = reads[at]!(cursor);
    return values;
  };

const readAsObject =
  (names: readonly string[], reads: readonly Read[]): Read =>
  (cursor) => {
    const values: { [field: string]: AvroValue } = Object.create(null);
    for (let at = 0; at < reads.length; at++) values[names[at]!] = reads[at]!(cursor);
    return values;
  };

class Compiler {
  readonly #named = new Map<string, Node>();
  readonly #options: ReadOptions;

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  compile(schema: Schema, space: string, path: string): Node {
    if (typeof schema === 'string') return this.#byName(schema, space);
    if (Array.isArray(schema)) return this.#union(schema, space, path);
    switch (schema?.type) {
      case 'record':
        return this.#record(schema, space, path);
      case 'enum':
        return this.#enum(schema, space);
      case 'fixed':
        return this.#fixed(schema, space);
      case 'array':
        return readArray(this.#item(schema.items as Schema, space, path));
      case 'map':
        return readMap(this.compile(schema.values as Schema, space, path));
      case undefined:
        throw refuse('a type is missing');
      default:
        return this.compile(schema.type, space, path);
    }
  }

  #byName(name: string, space: string): Node {
    const primitive = PRIMITIVES.get(name);
    if (primitive !== undefined) return primitive;
    const known = this.#named.get(name.includes('.') || space === '' ? name : `${space}.${name}`);
    if (known === undefined) throw refuse(`it names ${name} and does not say what that is`);
    return known;
  }

  #union(schemas: Schema[], space: string, path: string): Node {
    const branches = schemas.map((schema) => this.compile(schema, space, path));
    const [first, second, third] = branches;
    if (first === undefined) throw refuse('a union is empty');
    if (second === undefined || third !== undefined) return readUnion(branches);
    if (schemas[0] === 'null') return readOptional(second, 2);
    return schemas[1] === 'null' ? readOptional(first, 0) : readUnion(branches);
  }

  #item(schema: Schema, space: string, path: string): Node {
    const item = this.compile(schema, space, path);
    if (item.isEmpty) throw refuse('the items of an array take no bytes');
    return item;
  }

  /** Enters a named type before it is compiled, because it may name itself. */
  #define(schema: { [key: string]: unknown }, enclosing: string): { made: Node; space: string } {
    const { name, namespace } = schema;
    if (typeof name !== 'string') throw refuse('a named type has no name');
    const dot = name.lastIndexOf('.');
    const space = dot >= 0 ? name.slice(0, dot) : typeof namespace === 'string' ? namespace : enclosing;
    const made = node(
      (cursor) => made.read(cursor),
      (cursor) => made.skip(cursor),
    );
    this.#named.set(dot >= 0 || space === '' ? name : `${space}.${name}`, made);
    return { made, space };
  }

  #enum(schema: { [key: string]: unknown }, enclosing: string): Node {
    const { made } = this.#define(schema, enclosing);
    const symbols = schema.symbols as readonly string[];
    made.read = (cursor) => {
      const symbol = symbols[cursor.int()];
      if (symbol === undefined) throw new RangeError('an enum has no such symbol');
      return symbol;
    };
    made.skip = skipLong;
    return made;
  }

  #fixed(schema: { [key: string]: unknown }, enclosing: string): Node {
    const { made } = this.#define(schema, enclosing);
    const size = Number(schema.size);
    if (!(size > 0)) throw refuse('a fixed type has no size');
    made.read = (cursor) => cursor.view(size);
    made.skip = skipBytes(size);
    return made;
  }

  #record(schema: { [key: string]: unknown }, enclosing: string, path: string): Node {
    const { made, space } = this.#define(schema, enclosing);
    const fields = schema.fields as readonly { name: string; type: Schema }[];
    const nodes = fields.map(({ name, type }) =>
      this.compile(type, space, path === '' ? name : `${path}.${name}`),
    );
    const reads = nodes.map(({ read, skip }, at) => {
      const name = fields[at]!.name;
      if (this.#options.skip?.(path === '' ? name : `${path}.${name}`) !== true) return read;
      return (cursor: AvroCursor) => {
        skip(cursor);
        return null;
      };
    });
    const names = fields.map(({ name }) => name);
    made.read = this.#options.records === 'arrays' ? readAsArray(reads) : readAsObject(names, reads);
    made.skip = (cursor) => {
      for (let at = 0; at < nodes.length; at++) nodes[at]!.skip(cursor);
    };
    made.isEmpty = nodes.every(({ isEmpty }) => isEmpty);
    return made;
  }
}

/**
 * Reads one value that fills `start` to `end`. Throws `schema_incompatible` for a text that is no schema, and
 * when reading `record_corrupt` for bytes that the schema cannot have written. Not reentrant.
 */
export const compileReader = (schema: string, options: ReadOptions = {}): ReadAvro => {
  let parsed: Schema;
  try {
    parsed = JSON.parse(schema) as Schema;
  } catch (cause) {
    throw new VarveError('schema_incompatible', 'An Avro schema is no JSON.', { cause });
  }
  const { read } = new Compiler(options).compile(parsed, '', '');
  const cursor = new AvroCursor();
  return (bytes, start, end) => {
    cursor.load(bytes, start, end);
    try {
      const value = read(cursor);
      if (cursor.pos !== end) throw new RangeError(`${end - cursor.pos} bytes are left over`);
      return value;
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      const where = `at byte ${cursor.pos - start} of ${end - start}`;
      const sentence = `An Avro value is damaged ${where}: ${cause.message}.`;
      throw new VarveError('record_corrupt', sentence, { cause });
    }
  };
};

/** Where Avro begins behind the Confluent frame (a zero byte, then the schema id). */
export const FRAME_LENGTH = 5;

/** Schema id of a framed key or value. Throws `record_corrupt` when there is no frame. */
export const readSchemaId = (bytes: Uint8Array, start: number, end: number): number => {
  if (end - start < FRAME_LENGTH || bytes[start] !== 0) {
    throw new VarveError('record_corrupt', 'A key or value does not start with a zero byte and a schema id.');
  }
  return new DataView(bytes.buffer, bytes.byteOffset + start, FRAME_LENGTH).getInt32(1);
};
