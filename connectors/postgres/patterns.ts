// Owns table patterns: `public.*`, `!public.tmp_*`, `"My Schema".orders`. Pure; knows no catalog.
import type { TableName } from '../../src/change/schema.ts';
import { VarveError } from '../../src/errors.ts';

type Pattern = { isNegative: boolean; namespace: RegExp; table: RegExp };

const bad = (pattern: string, reason: string): VarveError =>
  new VarveError(
    'config_invalid',
    `The table pattern ${JSON.stringify(pattern)} ${reason} Write schema.table, with * for any ` +
      'characters, ? for one, double quotes around names with dots, capitals or spaces, and ! in front ' +
      'to leave tables out.',
    { facts: { pattern } },
  );

const escapeRegExp = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/**
 * One name: quoted, where everything stands for itself and "" is a quote, or bare, where * and ? are wild.
 */
const NAME = /^(?:"((?:[^"]|"")+)"|([^".!\s]+))/;

const readName = (pattern: string, rest: string): [RegExp, string] => {
  const found = NAME.exec(rest);
  if (found === null)
    throw bad(pattern, rest.startsWith('"') ? 'has a quoted name without end.' : 'lacks a name.');
  const [whole, quoted, bare] = found;
  // Unlike in SQL, a bare name is not lowered: what the catalog shows can be pasted as it is.
  const source =
    quoted === undefined
      ? escapeRegExp(bare as string)
          .replaceAll('\\*', '.*')
          .replaceAll('\\?', '.')
      : escapeRegExp(quoted.replaceAll('""', '"'));
  return [new RegExp(`^${source}$`, 'su'), rest.slice(whole.length)];
};

const parsePattern = (pattern: string): Pattern => {
  const isNegative = pattern.startsWith('!');
  const [namespace, rest] = readName(pattern, isNegative ? pattern.slice(1) : pattern);
  if (rest === '') throw bad(pattern, 'names no schema.');
  if (!rest.startsWith('.')) throw bad(pattern, 'does not go on with a dot after the schema.');
  const [table, behind] = readName(pattern, rest.slice(1));
  if (behind !== '') throw bad(pattern, 'goes on after the table name.');
  return { isNegative, namespace, table };
};

/**
 * A predicate over table names: true when some pattern fits and none with `!` does. Throws `config_invalid`
 * for a pattern that cannot be read, an empty list, and a list that only leaves out.
 */
export const compilePatterns = (patterns: readonly string[]): ((name: TableName) => boolean) => {
  const parsed = patterns.map(parsePattern);
  if (parsed.every((pattern) => pattern.isNegative)) {
    throw new VarveError(
      'config_invalid',
      'The list of tables picks none: it is empty or has only patterns with !. Add what to capture, ' +
        'such as "public.*".',
    );
  }
  return ([namespace, table]) => {
    const fits = (pattern: Pattern): boolean =>
      pattern.namespace.test(namespace) && pattern.table.test(table);
    return (
      parsed.some((pattern) => !pattern.isNegative && fits(pattern)) &&
      !parsed.some((pattern) => pattern.isNegative && fits(pattern))
    );
  };
};
