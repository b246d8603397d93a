// Owns reading a pipeline file: YAML with lines, references to secrets, and all mistakes at once, each with
// its line, key, what is allowed and the nearest right spelling. Knows the schema only as something that
// checks.
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { type Document, isMap, isNode, isPair, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { type Config, configSchema } from './config.ts';
import { resolveTopic } from './config-topic.ts';
import { VarveError } from './errors.ts';
import { secretsIn } from './secrets.ts';
import { isS3 } from './sinks/parquet/s3-place.ts';

const MAX_FILE_BYTES = 1 << 20;
const REFERENCE = /\$\{(env|file):([^}]*)\}/g;

type Path = readonly PropertyKey[];
type Mistake = { path: Path; message: string };

export type ConnectorOptions = { kinds: readonly string[]; load(kind: string): Promise<z.ZodType<unknown>> };

/** Smallest number of single-letter edits from one word to the other. */
const editDistance = (from: string, to: string): number => {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const swap = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
};

const nearest = (word: string, among: readonly string[]): string => {
  const best = [...among].sort((a, b) => editDistance(word, a) - editDistance(word, b))[0];
  return best !== undefined && editDistance(word, best) <= Math.max(2, word.length / 3)
    ? `; did you mean ${best}?`
    : '';
};

/** Of a union, the member that the value is meant for: by its discriminator, else the one with keys. */
const memberFor = (union: z.ZodUnion, value: unknown): unknown => {
  const key = union instanceof z.ZodDiscriminatedUnion ? union.def.discriminator : undefined;
  const said = key === undefined ? undefined : (value as Record<string, unknown> | null | undefined)?.[key];
  return union.options.find((option) => {
    if (!(option instanceof z.ZodObject)) return false;
    return key === undefined || z.safeParse(option.shape[key], said).success;
  });
};

const keysAllowedAt = (schema: z.ZodType<unknown>, root: unknown, path: Path): readonly string[] => {
  let at: unknown = schema;
  let value = root;
  for (const step of [...path, undefined]) {
    for (;;) {
      if (at instanceof z.ZodDefault || at instanceof z.ZodOptional || at instanceof z.ZodNullable)
        at = at.unwrap();
      else if (at instanceof z.ZodPipe) at = at.in;
      else if (at instanceof z.ZodUnion) at = memberFor(at, value);
      else break;
    }
    if (step === undefined) return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
    if (at instanceof z.ZodObject) at = at.shape[String(step)];
    else if (at instanceof z.ZodRecord) at = at.valueType;
    else return [];
    value = (value as Record<PropertyKey, unknown> | null | undefined)?.[step];
  }
  return [];
};

/** The mistakes inside of the union's member that the value is meant for; none when it is of another type. */
const insideUnion = (issue: z.core.$ZodIssueInvalidUnion): readonly z.core.$ZodIssue[] => {
  const isElsewhere = ({ code, path }: z.core.$ZodIssue): boolean =>
    path.length === 0 && (code === 'invalid_type' || code === 'invalid_value');
  return issue.errors.find((issues) => !issues.some(isElsewhere)) ?? [];
};

const describeIssue = (schema: z.ZodType<unknown>, root: unknown, issue: z.core.$ZodIssue): Mistake[] => {
  const path = issue.path;
  if (issue.code === 'unrecognized_keys') {
    const allowed = keysAllowedAt(schema, root, path);
    return issue.keys.map((key) => ({
      path: [...path, key],
      message: `unknown key ${key}${nearest(key, allowed)} (allowed: ${allowed.join(', ')})`,
    }));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => ({ path, message }));
  }
  if (issue.code === 'invalid_union') {
    const inner = insideUnion(issue).flatMap((deeper) =>
      describeIssue(schema, root, { ...deeper, path: [...path, ...deeper.path] }),
    );
    if (inner.length > 0) return inner;
  }
  if (issue.code === 'invalid_type' && issue.input === undefined) {
    return [{ path, message: `${String(path.at(-1))} is missing (${issue.message})` }];
  }
  return [{ path, message: issue.message }];
};

const lineOf = (document: Document, lines: LineCounter, path: Path): number => {
  for (let depth = path.length; depth >= 0; depth--) {
    const parent = document.getIn(path.slice(0, depth - 1), true);
    if (depth > 0 && isMap(parent)) {
      const pair = parent.items.find((item) => isPair(item) && String(item.key) === String(path[depth - 1]));
      if (pair && isNode(pair.key) && pair.key.range) return lines.linePos(pair.key.range[0]).line;
    }
    const node = document.getIn(path.slice(0, depth), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
};

const resolveReferences = (root: unknown, baseDir: string, environment: NodeJS.ProcessEnv) => {
  const mistakes: Mistake[] = [];
  const secrets: string[] = [];
  const replace = (text: string, path: Path): string =>
    text.replace(REFERENCE, (_all, kind: string, name: string) => {
      let value: string | undefined;
      if (kind === 'env') value = environment[name];
      else {
        try {
          value = readFileSync(isAbsolute(name) ? name : resolve(baseDir, name), 'utf8').trimEnd();
        } catch {
          value = undefined;
        }
      }
      if (value === undefined) {
        const what =
          kind === 'env' ? `environment variable ${name} is not set` : `file ${name} cannot be read`;
        mistakes.push({ path, message: `missing secret: ${what}` });
        return '';
      }
      if (value.length > 0) secrets.push(value);
      return value;
    });
  const walk = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return replace(value, path);
    if (Array.isArray(value)) return value.map((item, at) => walk(item, [...path, at]));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]));
  };
  return { value: walk(root, []), secrets, mistakes };
};

const readText = (file: string): string => {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= MAX_FILE_BYTES) return bytes.toString('utf8');
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unreadable';
    throw new VarveError(
      'config_invalid',
      `${file}: cannot be read (${why}). Name a pipeline file that exists.`,
      { cause },
    );
  }
  throw new VarveError(
    'config_invalid',
    `${file}: larger than ${MAX_FILE_BYTES} bytes, which no pipeline file is.`,
  );
};

const refuse = (file: string, lines: readonly { line: number; message: string; key: string }[]): never => {
  const sorted = [...lines].sort((a, b) => a.line - b.line);
  const text = sorted.map(
    ({ line, key, message }) => `${file}:${line}: ${key === '' ? '' : `${key}: `}${message}`,
  );
  throw new VarveError('config_invalid', text.join('\n'), { facts: { file, mistakes: sorted.length } });
};

const sourceSchema = async (value: unknown, connectors: ConnectorOptions): Promise<z.ZodType<unknown>> => {
  const source = typeof value === 'object' && value !== null && 'source' in value ? value.source : undefined;
  const kind = typeof source === 'object' && source !== null && 'kind' in source ? source.kind : undefined;
  if (typeof kind === 'string' && connectors.kinds.includes(kind)) return connectors.load(kind);
  const near = typeof kind === 'string' ? nearest(kind, connectors.kinds) : '';
  const allowed = connectors.kinds.join(', ');
  return z.looseObject({ kind: z.enum(connectors.kinds as [string], `allowed: ${allowed}${near}`) });
};

/**
 * Reads, resolves and checks a pipeline file. Throws `config_invalid` with one line a mistake; nothing is
 * started.
 */
export const loadConfig = async (
  path: string,
  connectors: ConnectorOptions,
  environment: NodeJS.ProcessEnv,
): Promise<Config> => {
  const file = resolve(path);
  const lines = new LineCounter();
  const document = parseDocument(readText(file), { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0) {
    const wrong = document.errors.map((error) => ({
      line: error.linePos?.[0].line ?? 1,
      key: '',
      message: error.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '') ?? 'not YAML',
    }));
    return refuse(file, wrong);
  }
  const baseDir = dirname(file);
  const { value, secrets, mistakes } = resolveReferences(
    document.toJS({ maxAliasCount: 100 }),
    baseDir,
    environment,
  );
  const schema = configSchema(await sourceSchema(value, connectors));
  const parsed = schema.safeParse(value ?? {}, { reportInput: true });
  const found = parsed.success
    ? []
    : parsed.error.issues.flatMap((issue) => describeIssue(schema, value, issue));
  // An empty secret fails its own key's check as well; the missing secret is the cause worth reading.
  const all = [
    ...mistakes,
    ...found.filter(({ path: at }) => !mistakes.some((m) => m.path.join() === at.join())),
  ];
  if (all.length > 0 || !parsed.success) {
    return refuse(
      file,
      all.map(({ path: at, message }) => ({
        line: lineOf(document, lines, at),
        key: at.map(String).join('.'),
        message,
      })),
    );
  }
  const config = parsed.data;
  const absolute = (relative: string): string =>
    isAbsolute(relative) ? relative : resolve(baseDir, relative);
  const absoluteTables = (location: string): string => (isS3(location) ? location : absolute(location));
  return Object.freeze({
    ...config,
    topic: resolveTopic(config.topic, config.name, absolute),
    table: config.table && { ...config.table, location: absoluteTables(config.table.location) },
    http: config.http,
    file,
    secrets: [
      ...new Set([...secrets.flatMap((secret) => [secret, ...secretsIn(secret)]), ...secretsIn(value)]),
    ],
  });
};
