// Owns whether two Avro schema texts say the same: a registry may give back a schema in other words than it
// was given. Knows no registry. Pure.

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What changes neither a byte nor its meaning. */
const REMARKS = new Set(['doc', 'aliases', 'order', 'namespace']);

const PRIMITIVES = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']);
const NAMED = new Set(['record', 'error', 'enum', 'fixed']);

const fullName = (name: string, namespace: string): string =>
  name.includes('.') || namespace === '' ? name : `${namespace}.${name}`;

/** One way to write it: full names everywhere, keys sorted, `{"type": "int"}` as `"int"`. */
const normalize = (schema: Json | undefined, namespace: string): Json => {
  if (typeof schema === 'string') return PRIMITIVES.has(schema) ? schema : fullName(schema, namespace);
  if (Array.isArray(schema)) return schema.map((branch) => normalize(branch, namespace));
  if (schema === null || schema === undefined || typeof schema !== 'object') return schema ?? null;
  const { type, name } = schema;
  const isNamed = typeof type === 'string' && NAMED.has(type) && typeof name === 'string';
  const own = typeof schema.namespace === 'string' ? schema.namespace : namespace;
  const full = isNamed ? fullName(name, own) : '';
  const inner = isNamed ? full.slice(0, Math.max(0, full.lastIndexOf('.'))) : namespace;
  const kept = Object.keys(schema).filter((key) => !REMARKS.has(key));
  if (kept.length === 1 && kept[0] === 'type') return normalize(type, inner);
  return Object.fromEntries(
    kept.sort().map((key): [string, Json] => {
      const value = schema[key];
      if (key === 'name' && isNamed) return [key, full];
      if (key === 'fields' && Array.isArray(value)) return [key, value.map((field) => fieldOf(field, inner))];
      const isSchema = key === 'items' || key === 'values' || (key === 'type' && !NAMED.has(String(value)));
      return [key, isSchema ? normalize(value, inner) : sortKeys(value)];
    }),
  );
};

const fieldOf = (field: Json, namespace: string): Json => {
  if (field === null || typeof field !== 'object' || Array.isArray(field)) return field;
  const kept = Object.keys(field).filter((key) => !REMARKS.has(key));
  return Object.fromEntries(
    kept.sort().map((key) => [key, key === 'type' ? normalize(field[key], namespace) : sortKeys(field[key])]),
  );
};

const sortKeys = (value: Json | undefined): Json => {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || value === undefined || typeof value !== 'object') return value ?? null;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sortKeys(value[key])]),
  );
};

/** False also for a text that is no JSON. Names, types, defaults and attributes count, remarks do not. */
export const isSameSchema = (one: string, other: string): boolean => {
  if (one === other) return true;
  try {
    const texts = [one, other].map((text) => JSON.stringify(normalize(JSON.parse(text) as Json, '')));
    return texts[0] === texts[1];
  } catch {
    return false;
  }
};
