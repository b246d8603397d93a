// Owns which version of a row somebody means: the newest, the one that stood at a time, or after an order.
import { isOrder } from '../change/order.ts';
import { VarveError } from '../errors.ts';
import type { EngineValue } from '../sinks/parquet/columns-value.ts';
import { type Asking, flagText, type NamedTable } from './asked.ts';
import type { Context } from './command.ts';
import { isMark, type LifeVersion, readVersion } from './life.ts';
import { readMoment } from './moment.ts';
import { instantText, keyFields, keyText } from './row-text.ts';

const MOST_VERSIONS = 100_000;

type Choice = { text: string; isIt: (version: LifeVersion) => boolean };

/** Throws `usage`. */
export const choiceOf = (context: Context): Choice => {
  const [order, at] = [flagText(context, 'order'), flagText(context, 'at')];
  if (order !== null && at !== null)
    throw new VarveError('usage', 'Say --order or --at: each chooses a version.');
  if (order !== null && !isOrder(order))
    throw new VarveError('usage', `--order is an ORDER as history --json prints it, not ${order}.`);
  if (order !== null)
    return {
      text: `after ${order}`,
      isIt: (version) => version.order <= order && (version.orderEnd === null || version.orderEnd > order),
    };
  if (at === null) return { text: '', isIt: () => true };
  const { moment, text } = readMoment(at, '--at');
  if (moment.kind === 'current') return { text, isIt: ({ to }) => to === null };
  const then = moment.at;
  if ('order' in then) return choiceOf({ ...context, flags: { ...context.flags, at: undefined, order: at } });
  return { text: `at ${text}`, isIt: ({ from, to }) => from <= then.ts && (to === null || to > then.ts) };
};

/** Throws `usage` where no such version is, or the table has none. */
export const findVersion = async (
  all: Asking,
  { table, key, choice }: { table: NamedTable; key: readonly Exclude<EngineValue, null>[]; choice: Choice },
): Promise<LifeVersion> => {
  const question = { rows: { kind: 'history', key }, where: null, limit: MOST_VERSIONS } as const;
  const answer = await all.queries.ask(table, question);
  const versions = answer.rows
    .map((values, at) => readVersion(values, answer.files[at] ?? '', answer.layout))
    .filter((version) => version !== null);
  const name = `${table.name} ${keyText(key, keyFields(table.layout))}`;
  if (versions.length < answer.rows.length)
    throw new VarveError(
      'usage',
      `${table.name} keeps no versions of its rows, so there is none to explain.`,
    );
  if (versions.length === 0) throw new VarveError('usage', `${name} is not in the table, and never was.`);
  const found = versions.findLast((version) => !isMark(version) && choice.isIt(version));
  if (found !== undefined) return found;
  throw new VarveError(
    'usage',
    `No version of ${name} stood ${choice.text}. The first one begins at ` +
      `${instantText(versions[0]?.from ?? 0n)}; varve history shows all of them.`,
  );
};
