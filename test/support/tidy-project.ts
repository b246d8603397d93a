// The tidy rules that hold code against words elsewhere: error kinds against throws and tests, configuration
// keys against documents. And reading the project's files for all rules. Knows no other rule.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Source, scanSource } from './source-scan.ts';
import type { Violation } from './tidy-rules.ts';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));

const isIgnored = (path: string): boolean =>
  /(?:^|\/)(?:node_modules|\.git|dist|var|\.cache)(?:\/|$)|\.log$/.test(path);

/** Every file of the checkout that is not made by a tool, by its path below the root. */
export const listFiles = (): string[] =>
  globSync('{**,.*/**,.*}', {
    cwd: projectRoot,
    withFileTypes: true,
    exclude: (entry) => isIgnored(entry.name),
  })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(projectRoot.length).replaceAll('\\', '/'))
    .filter((path) => !isIgnored(path))
    .sort();

export const readText = (path: string): string => readFileSync(join(projectRoot, path), 'utf8');

/** All TypeScript and plain JavaScript of the project, fixtures excepted. */
export const readSources = (files: readonly string[]): Source[] =>
  files
    .filter((path) => /\.(?:ts|mjs)$/.test(path) && !path.startsWith('test/fixtures/'))
    .map((path) => scanSource(path, readText(path)));

/** Every kind is thrown by the product, and some test expects it. */
export const checkErrorKinds = (kinds: readonly string[], sources: readonly Source[]): Violation[] => {
  const names = (kind: string, source: Source): boolean => new RegExp(`['"]${kind}['"]`).test(source.text);
  const product = sources.filter(
    ({ path }) => /^(?:src|connectors)\//.test(path) && path !== 'src/errors.ts',
  );
  const tests = sources.filter(({ path }) => path.startsWith('test/') && !path.startsWith('test/support/'));
  const path = 'src/errors.ts';
  return kinds.flatMap((kind) => [
    ...(product.some((source) => names(kind, source)) ? [] : [{ path, what: `nothing throws ${kind}` }]),
    ...(tests.some((source) => names(kind, source)) ? [] : [{ path, what: `no test expects ${kind}` }]),
  ]);
};

type JsonSchema = { readonly [key: string]: unknown };

/** The dotted paths of all keys that a JSON Schema allows. */
export const schemaKeys = (schema: JsonSchema, prefix = ''): string[] => {
  const properties = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>);
  const parts = ['anyOf', 'oneOf', 'allOf'].flatMap((name) => (schema[name] ?? []) as JsonSchema[]);
  return [
    ...properties.flatMap(([key, inner]) => [prefix + key, ...schemaKeys(inner, `${prefix}${key}.`)]),
    ...parts.flatMap((part) => schemaKeys(part, prefix)),
  ];
};

/** A key is documented where README.md or docs/ write it as `key`, `path.to.key`, or `key:` in an example. */
export const checkDocumentedKeys = (keys: readonly string[], documents: readonly string[]): Violation[] => {
  const text = documents.join('\n');
  return [...new Set(keys)]
    .filter((path) => {
      const key = path.split('.').at(-1) ?? '';
      return !new RegExp(`\`(?:[\\w.]+\\.)?${key}\`|(?:^|[\\s{,#])${key}:(?:\\s|$)`, 'm').test(text);
    })
    .map((key) => ({ path: 'README.md', what: `neither it nor docs/ explain the configuration key ${key}` }));
};
