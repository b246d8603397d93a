// Plants a fault for every tidy rule and expects it to be found, and honest code beside it to pass.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blankText, type Source, scanSource } from './source-scan.ts';
import * as graph from './tidy-graph.ts';
import { checkDocumentedKeys, checkErrorKinds, schemaKeys } from './tidy-project.ts';
import * as rules from './tidy-rules.ts';

const source = (text: string, path = 'src/topic/x.ts'): Source => scanSource(path, text);
const whats = (violations: rules.Violation[]): string[] => violations.map(({ what }) => what);
type Plant = { rule: (text: string) => rules.Violation[]; bad: readonly string[]; good: string };
/** Each bad text must be refused once, and the good one must pass. */
const plant = (name: string, { rule, bad, good }: Plant): void => {
  test(`${name}: the planted fault is found`, () => {
    for (const text of bad)
      assert.equal(rule(text).length, 1, `${JSON.stringify(text)} -> ${whats(rule(text))}`);
    assert.deepEqual(rule(good), []);
  });
};

test('text, comments and regular expressions are not code; substitutions in templates are', () => {
  const code = blankText(
    `a("any"); // any\nb(\`any \${any({ x: 1 })} any\`); /any[/]/.test(c / any / d); /* any */`,
  );
  assert.equal(code.match(/any/g)?.length, 2);
  assert.equal(code.split('\n').length, 2);
});

test('functions of every form are found, with their parameters and lengths', () => {
  const { functions } = source(
    [
      'const arrow = (a: number, b: { c: 1; d: 2 }, e: Map<string, string>): Promise<{ f: 1 }> => {',
      '  return pick(a, b, e, 1, 2);',
      '};',
      'function declared<T extends { a: 1 }>(a: T): { b: 1 } {',
      '}',
      'class C {',
      '  async #method(a: string, ...rest: string[]): Promise<void> {',
      '    if (a) call(a, a, a, a);',
      '  }',
      '}',
      'type Port = { read(a: A, b: B, c: C, d: D): void };',
      'const choice = a ? call(a, b, c, d) : { x: 1 };',
    ].join('\n'),
  );
  assert.deepEqual(
    functions.map(({ name, line, lines, parameters }) => [name, line, lines, parameters.join()]),
    [
      ['arrow', 1, 3, 'a,b,e'],
      ['declared', 4, 2, 'a'],
      ['#method', 7, 3, 'a,rest'],
      ['read', 11, 1, 'a,b,c,d'],
    ],
  );
});

test('imports and exports are found by name', () => {
  const scanned = source(
    "import d, { type A, b as c } from './a.ts';\nimport 'node:fs';\nimport * as all from 'x';\n" +
      "const lazy = import('./l.ts');\nexport const one = 1;\nexport async function two() {}\n" +
      'export type { Three };',
  );
  assert.deepEqual(
    scanned.imports.map(({ from, names }) => [from, names]),
    [
      ['./a.ts', ['default', 'A', 'b']],
      ['node:fs', []],
      ['x', ['*']],
      ['./l.ts', []],
    ],
  );
  assert.deepEqual(scanned.exports, ['one', 'two', 'Three']);
});

const imports = (count: number): string =>
  Array.from({ length: count }, (_, at) => `import { a } from './m${at}.ts';\n`).join('');
plant('size', {
  rule: (text) => rules.checkSize(source(text)),
  bad: ['x;\n'.repeat(401), `${'x'.repeat(111)};`, imports(13)],
  good: `${'x'.repeat(110)}\n${imports(12)}${'x;\n'.repeat(380)}`,
});
plant('functions', {
  rule: (text) => rules.checkFunctions(source(text, 'test/x.test.ts')),
  bad: [
    `const f = () => {\n${'x;\n'.repeat(60)}};`,
    'const f = (a: A, b: B, c: C, d: D) => 1;',
    'type F = (a: A, b: B, c: C, d: D) => void;',
  ],
  good: [
    `describe('x', () => {\n${"test('x', f);\n".repeat(99)}});`,
    'const g = (a: A, b: Map<K, V>, { c, d }: E) => 1;',
    'const h = (a: A, b: B, start: number, end: number) => 1;',
  ].join('\n'),
});
plant('constructs', {
  rule: (text) => rules.checkConstructs(source(text, 'test/x.test.ts')),
  bad: [
    'export default 1;',
    'export enum E { A }',
    'namespace N { }',
    'const a: any = 1;',
    'f(a as any);',
    'const a: Map<string, any> = b;',
    'class C {\n  private x = 1;\n  private constructor() {}\n}',
    "test.skip('x', f);",
    "test('x', { only: true }, f);",
    `// ${'TO'}${'DO'} later`,
    `// @ts-${'ignore'}`,
  ],
  good:
    "// any enum, namespace or default\nconst any = 'export default'; Promise.any([any]); " +
    'call(any(x), any, any);',
});
plant('non-null', {
  rule: (text) => rules.checkNonNull(source(text), new Set(['src/topic/x.ts'])),
  bad: ['a!.b;', 'f(a())!;', 'const b = a!;'],
  good: 'const b = a[0]! + c[1]!; if (!a && a != b && !(a !== b)) return !a;',
});
plant('non-null outside the list', {
  rule: (text) => rules.checkNonNull(source(text), new Set()),
  bad: ['a[0]!;'],
  good: 'a[0];',
});
plant('header', {
  rule: (text) => rules.checkHeader(source(text)),
  bad: ['const a = 1;', '// x\n'.repeat(6), '/** x */\n'],
  good: '#!/bin/node\n// Owns x.\nconst a = 1;',
});
plant('names', {
  rule: rules.checkName,
  bad: ['src/topic/recordBatch.ts', 'src/utils/a.ts', 'src/topic/index.ts', 'test/Helpers.ts'],
  good: 'src/index.ts',
});
plant('purity', {
  rule: (text) => rules.checkPurity(source(text, 'src/change/x.ts')),
  bad: [
    "import fs from 'node:fs';",
    "import { z } from 'zod';",
    'Date.now();',
    'new Date();',
    'Math.random();',
    'process.env;',
  ],
  good: "// Date.now\nimport { a } from './a.ts';\nnew Date(1);",
});
plant('database words', {
  rule: (text) => rules.checkDatabaseWords(source(text)),
  bad: ['// like PostgreSQL', 'const walEnd = 1;', "'pg_class'", 'let confirmedLSN;', 'toast'],
  good: 'const page = walk(slotted, oracular);',
});
plant('machine paths', {
  rule: (text) => rules.checkForeign('docs/x.md', text),
  bad: [`see ${'/'}home/me/x`, `at ${'/'}work/x`, `https://registry.npm${'js'}.org`],
  good: `src${'/'}work/x and .${'/'}root/y and ${'/'}tmp/z`,
});
plant('changelog', {
  rule: (text) => rules.checkChangelog('CHANGELOG.md', text),
  bad: [
    '# Changelog\n',
    '# Changelog\n\n## 1.0\n\n- x\n',
    '# Changelog\n\n## Unreleased\n\nwords\n',
    '# Log\n\n## Unreleased\n\n- x\n',
  ],
  good: '# Changelog\n\n## Unreleased\n\n- x\n\n## 1.0.0 - 2026-01-31\n\n### Added\n\n- y\n',
});

const floors =
  (path: string) =>
  (from: string): rules.Violation[] =>
    graph.checkFloors([source(from.startsWith('import') ? from : `import { a } from '${from}';`, path)]);
plant('floor of change', {
  rule: floors('src/change/x.ts'),
  bad: ['../topic/a.ts', '../errors.ts'],
  good: './a.ts',
});
plant('floor of topic', {
  rule: floors('src/topic/x.ts'),
  bad: ['../capture/a.ts', '../config.ts', '../../connectors/c/a.ts'],
  good: '../errors.ts',
});
plant('floor of capture', {
  rule: floors('src/capture/x.ts'),
  bad: ['../sinks/a.ts', '../main.ts', '../../test/a.ts'],
  good: '../change/a.ts',
});
plant('floor of a connector', {
  rule: floors('connectors/a/x.ts'),
  bad: ['../b/x.ts', '../../src/cli/x.ts'],
  good: '../../src/connector.ts',
});
plant('floor of telemetry', { rule: floors('src/telemetry.ts'), bad: ['./topic/a.ts'], good: './errors.ts' });
plant('siblings', { rule: floors('src/topic/kafka/x.ts'), bad: ['../embedded/x.ts'], good: '../feed.ts' });
plant('dynamic import', { rule: floors('src/cli/x.ts'), bad: ["import('./y.ts');"], good: './y.ts' });

test('cycles, barrels, dead exports and undeclared packages: the planted fault is found', () => {
  const a = source("import { b } from './b.ts';\nexport const a = 1;", 'src/topic/a.ts');
  const b = source(
    "import type { a } from './a.ts';\nexport const b = 1;\nexport const unused = 1;",
    'src/topic/b.ts',
  );
  assert.match(whats(graph.checkCycles([a, b])).join(), /a\.ts -> .*b\.ts -> .*a\.ts/);
  assert.deepEqual(graph.checkCycles([b]), []);
  assert.deepEqual(whats(graph.checkDeadExports([a, b])), ['exports unused, which nobody imports']);
  const whole = source("import * as all from './b.ts';\nall.unused;", 'src/topic/c.ts');
  assert.deepEqual(graph.checkDeadExports([a, b, whole]), []);
  assert.equal(graph.checkBarrels([source("export { a } from './a.ts';")]).length, 1);
  assert.equal(graph.checkBarrels([source("export * from './a.ts';")]).length, 1);
  assert.deepEqual(graph.checkBarrels([source("export { a } from './a.ts';", 'src/index.ts'), b]), []);
  const user = source(
    "import { test } from 'node:test';\nimport x from 'yaml/sub';\nimport y from 'left-pad';",
  );
  assert.deepEqual(whats(graph.checkPackages([user], ['yaml'])), [
    'imports left-pad, which is not among the dependencies',
  ]);
});

test('error kinds and configuration keys: the planted fault is found', () => {
  const thrower = source("throw new VarveError('disk_full', 'x');");
  const tester = source("assert.equal(error.kind, 'disk_full');", 'test/laws/x.test.ts');
  assert.deepEqual(checkErrorKinds(['disk_full'], [thrower, tester]), []);
  assert.deepEqual(whats(checkErrorKinds(['disk_full'], [thrower])), ['no test expects disk_full']);
  assert.deepEqual(whats(checkErrorKinds(['disk_full'], [tester])), ['nothing throws disk_full']);
  const schema = { properties: { topic: { anyOf: [{ properties: { path: {} } }] }, name: {} } };
  assert.deepEqual(schemaKeys(schema), ['topic', 'topic.path', 'name']);
  assert.deepEqual(checkDocumentedKeys(schemaKeys(schema), ['`name` and\n  topic: {path: ./x}']), []);
  assert.equal(checkDocumentedKeys(['topic.path'], ['the path of a file']).length, 1);
});
