// The tidy rules about one file at a time: size, words, style, purity. Each takes a source and gives its
// violations as sentences; exemptions are the test's.
import { lineAt, type Source } from './source-scan.ts';

/** A rule's finding: which file, and what is wrong in it. */
export type Violation = { readonly path: string; readonly what: string };

const at = (source: Source, what: string): Violation => ({ path: source.path, what });

/** Files that say the whole in a few lines have limits of their own. */
const MAX_LINES: Readonly<Record<string, number>> = { 'src/pipeline.ts': 150, 'src/connector.ts': 100 };

export const checkSize = (source: Source): Violation[] => {
  const lines = source.text.trimEnd().split('\n');
  const limit = MAX_LINES[source.path] ?? 400;
  const found = lines.length > limit ? [at(source, `${lines.length} lines; at most ${limit}`)] : [];
  lines.forEach((line, index) => {
    if (line.length > 110)
      found.push(at(source, `line ${index + 1} has ${line.length} characters; at most 110`));
  });
  if (source.imports.length > 12) found.push(at(source, `${source.imports.length} imports; at most 12`));
  return found;
};

/** A range within bytes or text is one thing that takes two names; an object for it would cost a hot loop. */
const countParameters = (names: readonly string[]): number =>
  names.length - (names.includes('start') && names.includes('end') ? 1 : 0);

export const checkFunctions = (source: Source): Violation[] =>
  source.functions.flatMap(({ name, line, lines, parameters, holdsTests }) => {
    const count = countParameters(parameters);
    const where = `${name} (line ${line})`;
    // A list of tests is not a function to follow.
    const isSuite = holdsTests && source.path.startsWith('test/');
    return [
      ...(lines > 60 && !isSuite ? [at(source, `${where} has ${lines} lines; at most 60`)] : []),
      ...(count > 3 ? [at(source, `${where} has ${count} positional parameters; at most 3`)] : []),
    ];
  });

const constructs: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['a default export', /\bexport\s+default\b|\bas\s+default\b/g],
  ['an enum', /\benum\s+\w+\s*\{/g],
  ['a namespace', /^\s*(?:export\s+)?(?:declare\s+)?(?:namespace|module)\s+[\w.]+\s*\{/gm],
  ['`any`', /(?:[:<|&]\s*|\bas\s+|\bextends\s+|\btype\s+\w+\s*=\s*)any\b(?!\s*\()|,\s*any\s*(?:>|\[\])/g],
  [
    'private, protected or public instead of #',
    /^\s*(?:private|protected|public)\s+(?!constructor\b)[\w#]/gm,
  ],
];
const silentTest = {
  name: 'a skipped, lone or unwritten test',
  pattern:
    /\b(?:test|it|describe|suite|context|t)\.(?:skip|only|todo)\b|\b(?:skip|only|todo):\s*(?:true|['"`])/g,
};
const remarks: readonly (readonly [name: string, pattern: RegExp])[] = [
  [
    'a postponed thought',
    new RegExp(`\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`, 'g'),
  ],
  ['a silenced type error', new RegExp(`@ts-${'(?:ignore|nocheck|expect-error)'}`, 'g')],
];

export const checkConstructs = (source: Source): Violation[] => [
  ...constructs.flatMap(([name, pattern]) => findAll(source, source.code, { name, pattern })),
  ...(source.path.endsWith('.test.ts') ? findAll(source, source.code, silentTest) : []),
  ...remarks.flatMap(([name, pattern]) => findAll(source, source.text, { name, pattern })),
];

const findAll = (source: Source, text: string, rule: { name: string; pattern: RegExp }): Violation[] =>
  [...text.matchAll(rule.pattern)].map((match) =>
    at(source, `line ${lineAt(text, match.index + match[0].search(/\S/))}: ${rule.name}`),
  );

/** A `!` after a value says "trust me"; only an index read, in a file of the list, may say it. */
export const checkNonNull = (source: Source, indexedFiles: ReadonlySet<string>): Violation[] =>
  [...source.code.matchAll(/([\w$)\]>])!(?!=)(?=[\s.,;:)\]}[(?*/+\-&|<>%^])/g)].flatMap((match) => {
    const line = `line ${lineAt(source.code, match.index)}`;
    if (match[1] !== ']') return [at(source, `${line}: non-null "!" on what is no index read`)];
    return indexedFiles.has(source.path) ? [] : [at(source, `${line}: non-null "!" in a file not listed`)];
  });

export const checkHeader = (source: Source): Violation[] => {
  const lines = source.text.split('\n');
  if (lines[0]?.startsWith('#!')) lines.shift();
  const end = lines.findIndex((line) => !line.startsWith('//'));
  const count = end < 0 ? lines.length : end;
  return count >= 1 && count <= 5
    ? []
    : [at(source, `opens with ${count} comment lines; 1 to 5 say what it owns and what it refuses to know`)];
};

const BUCKETS = /^(?:utils?|helpers?|commons?|types?|misc|shared|lib|constants|interfaces|index)$/;
const KEBAB = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;

/**
 * Takes any path of the repository. The root's own documents and what tools demand are named in capitals or
 * as they like.
 */
export const checkName = (path: string): Violation[] => {
  if (!/^(?:src|connectors|test|bench|demo|scripts|docs)\//.test(path) || path.startsWith('test/fixtures/'))
    return [];
  const found: Violation[] = [];
  for (const part of path.split('/')) {
    const [base = ''] = part.split('.');
    const isModule = /\.(?:ts|mjs|py)$/.test(part);
    if (base === '' || part === 'README.md') continue;
    const isKebab = KEBAB.test(part.endsWith('.py') ? base.replaceAll('_', '-') : base);
    if (!isKebab) found.push({ path, what: `"${part}" is not kebab-case` });
    if (BUCKETS.test(base) && path !== 'src/index.ts' && (isModule || !part.includes('.'))) {
      found.push({ path, what: `"${base}" says nothing about what is inside` });
    }
  }
  return found;
};

const PURE = [
  /^src\/change\//,
  /^src\/topic\/(?:avro|envelope|byte-writer|record-batch)[^/]*\.ts$/,
  /^src\/snapshot\/window/,
  /^src\/sinks\/parquet\/(?:scd2|layout)/,
  /^connectors\/[^/]+\/(?:encode|decode|pgoutput|copy-text|type-map|lsn)[^/]*\.ts$/,
];

/** Pure rooms get the clock, randomness and bytes as parameters, so that their laws can be tested. */
export const checkPurity = (source: Source): Violation[] => {
  if (!PURE.some((pattern) => pattern.test(source.path))) return [];
  const imported = source.imports
    .filter(({ from }) => !from.startsWith('.'))
    .map(({ from }) => at(source, `imports ${from} in a pure room`));
  const timers = /\bset(?:Timeout|Interval|Immediate)\b/g;
  const world =
    /\bDate\.now\b|\bnew\s+Date\(\s*\)|\bMath\.random\b|\b(?:process|performance|crypto|console)\b/g;
  const found = [timers, world].flatMap((pattern) =>
    findAll(source, source.code, { name: 'a clock, randomness or the process', pattern }),
  );
  return [...imported, ...found];
};

const DATABASES = /postgres|mysql|mariadb|\boracle\b|pgoutput|binlog|logminer|relfilenode/i;
const DATABASE_WORDS = /^(?:pg|lsn|xlog|wal|walsender|gtid|scn|toast|vacuum|slots?)$/i;

/** `src/` names no database, in code or in words; a connector's own folder is the place for that. */
export const checkDatabaseWords = (source: Source): Violation[] => {
  if (!source.path.startsWith('src/')) return [];
  return source.text.split('\n').flatMap((line, index) => {
    const words = line.match(/[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])/g) ?? [];
    const word = DATABASES.exec(line)?.[0] ?? words.find((part) => DATABASE_WORDS.test(part));
    return word === undefined ? [] : [at(source, `line ${index + 1}: "${word}" is a database's word`)];
  });
};

const slash = '/';
const FOREIGN = [
  new RegExp(`(?<![\\w.])${slash}(?:work|home|root|Users|mnt|workspace)${slash}[\\w.-]`),
  new RegExp(
    [
      'registry\\.npm' + 'js',
      'pypi\\.' + 'org',
      'repo1\\.mav' + 'en',
      'repo\\.mav' + 'en',
      'arti' + 'factory',
    ].join('|'),
    'i',
  ),
];

/** Takes the text of any file of the repository. */
export const checkForeign = (path: string, text: string): Violation[] =>
  text.split('\n').flatMap((line, index) => {
    const match = FOREIGN.map((pattern) => pattern.exec(line)).find((found) => found !== null);
    return match
      ? [{ path, what: `line ${index + 1}: "${match[0]}" is one machine's path or registry` }]
      : [];
  });

/**
 * Newest first: `## Unreleased` at most once and on top, then `## 1.2.3 - YYYY-MM-DD`; each says what changed
 * in bullets.
 */
export const checkChangelog = (path: string, text: string): Violation[] => {
  const found: Violation[] = [];
  if (!text.startsWith('# Changelog\n')) found.push({ path, what: 'does not begin with "# Changelog"' });
  const sections = text.split(/^## /m).slice(1);
  if (sections.length === 0) found.push({ path, what: 'has no section' });
  sections.forEach((section, index) => {
    const [title = ''] = section.split('\n');
    const isVersion = /^\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}$/.test(title);
    if (!isVersion && !(title === 'Unreleased' && index === 0))
      found.push({ path, what: `"## ${title}" is no version` });
    if (!/^- \S/m.test(section)) found.push({ path, what: `"## ${title}" says nothing in bullets` });
  });
  return found;
};
