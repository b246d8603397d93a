// Owns whether several tables can be shown as of one moment: up to where each of them is known to hold
// everything that was committed, and the newest moment that all of them have.
import { isOrder, type Order } from '../change/order.ts';
import { wholeUpTo } from '../sinks/cut.ts';
import { ancestry } from '../sinks/parquet/iceberg/metadata.ts';
import { summaryValue } from '../sinks/parquet/iceberg/table-state.ts';
import { readMemory } from '../sinks/parquet/table-memory.ts';
import type { Asking, NamedTable } from './asked.ts';
import { NOW, type SaidMoment } from './moment.ts';

/** `doubt`: why the tables may not be of one moment; null: they are. */
export type Together = { said: SaidMoment; doubt: string | null };

/** `cut`: everything up to this order is in the table; null: nothing says up to where. */
type Standing = { name: string; cut: Order | null };

/** The newest cut that the table has written down: what was whole stays whole. */
const writtenCut = ({ state }: NamedTable): Order | null => {
  for (const { summary } of ancestry(state.metadata)) {
    const cut = summary['varve.cut'] ?? '';
    if (isOrder(cut)) return cut;
  }
  return null;
};

const isCaughtUp = async ({ feed }: Asking, { state, topic }: NamedTable): Promise<boolean> => {
  const { offsets, topicId } = readMemory((key) => summaryValue(state, key));
  if (topicId !== (await feed.topicId(topic))) return false;
  for (let partition = 0; partition < (await feed.partitions(topic)); partition++) {
    const { end } = await feed.ends(topic, partition);
    if ((offsets.get(partition) ?? 0n) < end) return false;
  }
  return true;
};

/** A table that nothing changes writes no cut; but it has all that its topic has, as its checkpoint says. */
const standingOf = async (asking: Asking, table: NamedTable): Promise<Standing> => {
  const written = writtenCut(table);
  // Asked before the ends: what the checkpoint speaks of lies below them.
  const { order } = wholeUpTo(await asking.feed.state(), table.topic);
  if (order === null || !(await isCaughtUp(asking, table))) return { name: table.name, cut: written };
  return { name: table.name, cut: written !== null && written > order ? written : order };
};

const listed = (names: readonly string[]): string =>
  names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;

const verb = (names: readonly string[], one: string, many: string): string =>
  names.length === 1 ? one : many;

const unknownCut = (names: readonly string[]): string =>
  `The tables may not be of one moment: ${listed(names)} ${verb(names, 'does', 'do')} not say up to where ` +
  'everything is in. Changes that were committed together may be there in one table and still missing in ' +
  'another. With table.consistent: true, tables say it; and all do once nothing waits to be folded.';

const noHistory = (names: readonly string[]): string =>
  `The tables may not be of one moment: ${listed(names)} ${verb(names, 'keeps', 'keep')} no history: ` +
  'what is there now is all that can be shown.';

/** The moment to show the tables as of: the newest that all of them have, where none was said. */
export const commonMoment = async (
  asking: Asking,
  tables: readonly NamedTable[],
  said: SaidMoment,
): Promise<Together> => {
  const timeless = tables.filter(({ layout }) => layout.fields.every(({ name }) => name !== 'valid_to'));
  if (said === NOW && timeless.length > 0)
    return { said, doubt: noHistory(timeless.map(({ name }) => name)) };
  const standings: Standing[] = [];
  for (const table of tables) standings.push(await standingOf(asking, table));
  const silent = standings.filter(({ cut }) => cut === null).map(({ name }) => name);
  if (silent.length > 0) return { said, doubt: unknownCut(silent) };
  const [cut = ''] = standings.map((one) => one.cut ?? '').sort();
  const { moment } = said;
  if (moment.kind === 'current')
    return { said: { text: cut, moment: { kind: 'asOf', at: { order: cut } }, snapshot: null }, doubt: null };
  if ('order' in moment.at && moment.at.order <= cut) return { said, doubt: null };
  return {
    said,
    doubt:
      `All of these tables hold everything up to ${cut}. They are of one moment if ${said.text} is not ` +
      'after that; of what came later, some may hold more than others.',
  };
};
