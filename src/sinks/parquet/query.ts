// Owns asking tables: opening them as they are now or were at a snapshot, the rows of a moment, one key's
// life, what differs between two states. One engine for all questions, and only where a file must be read.
// Reads only.
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import type { TableLayout } from './columns-layout.ts';
import type {
  ComparedState,
  CompareRequest,
  CompareResult,
  Moment,
  QueryRequest,
  QueryResult,
} from './engine/protocol.ts';
import { stateAt } from './iceberg/past-state.ts';
import type { FoundFiles } from './iceberg/prune.ts';
import type { TableIo, TableState } from './iceberg/table-state.ts';
import type { OpenedStore, TablePlace } from './open-store.ts';
import { QueryEngine } from './query-engine.ts';
import { wishesBetween, wishesOf, withoutShared } from './query-files.ts';
import { storedLayout } from './stored-table.ts';
import { findTableIn, openReadOnly, type TableName } from './summary.ts';

/** A table that can be asked, in one state of it. */
export type AskedTable = { readonly io: TableIo; readonly state: TableState; readonly layout: TableLayout };

type Question = Pick<QueryRequest, 'rows' | 'where' | 'limit' | 'newestFirst'>;

export type Answer = QueryResult & { layout: TableLayout };

export type ComparedMoment = { table: AskedTable; moment: Moment };

type Files = Pick<FoundFiles, 'data' | 'deletes'>;

/** What the engine needs of them: statistics stay here. */
const forEngine = ({ data, deletes }: Files): Pick<QueryRequest, 'data' | 'deletes'> => ({
  data: data.map(({ path, specId, partition, records, bytes }) => ({
    path,
    specId,
    partition,
    records,
    bytes,
  })),
  deletes: deletes.map(({ path, referencedDataFile, bytes }) => ({ path, referencedDataFile, bytes })),
});

const isSameMoment = (one: Moment, other: Moment): boolean => {
  if (one.kind === 'current' || other.kind === 'current') return one.kind === other.kind;
  if ('ts' in one.at) return 'ts' in other.at && one.at.ts === other.at.ts;
  return 'order' in other.at && one.at.order === other.at.order;
};

export class TableQueries implements AsyncDisposable {
  readonly engine = new QueryEngine();
  readonly #place: TablePlace;
  #store: Promise<OpenedStore> | null = null;

  /** Where the tables lie. */
  constructor(place: TablePlace) {
    this.#place = place;
  }

  /** As it is now. Throws `usage` for a table that is not there yet. */
  async open(table: TableName): Promise<AskedTable> {
    this.#store ??= openReadOnly(this.#place, join(this.engine.directory, 'copies'));
    const found = await findTableIn(await this.#store, this.#place, table);
    if (found !== null) return { ...found, layout: storedLayout(found.state) };
    throw new VarveError('usage', `${table.namespace}.${table.name} has no table yet: varve run folds it.`);
  }

  /** As that snapshot left it. Throws `usage` for one that the table does not have. */
  async openAt({ io, state }: AskedTable, snapshot: bigint): Promise<AskedTable> {
    const then = await stateAt(io.store, state, snapshot);
    return { io, state: then, layout: storedLayout(then) };
  }

  /** `layout`: other columns, or other names for them, than the table's own. Throws `usage`. */
  async ask(table: AskedTable, question: Question, layout = table.layout): Promise<Answer> {
    const found = await this.engine.find(table.io.store, table.state, wishesOf(question.rows, table.layout));
    const request: QueryRequest = { ...question, ...forEngine(found), layout };
    if (found.data.length === 0 && question.where === null && question.rows.kind === 'history')
      return { columns: layout.fields.map(({ name }) => name), rows: [], files: [], more: false, layout };
    const result = await this.engine.run(table.io.store, (engine, answers) => engine.query(request, answers));
    return { ...result, layout };
  }

  /** Two states of one table, in the columns of `layout`. Throws `usage`. */
  async compare(
    from: ComparedMoment,
    to: ComparedMoment,
    { layout, ...question }: Pick<CompareRequest, 'layout' | 'where' | 'limit'>,
  ): Promise<CompareResult> {
    if (layout.mode === 'append')
      throw new VarveError('usage', 'This table is a list of events: none of them ever changes.');
    const isOneState = from.table.state.snapshot === to.table.state.snapshot;
    const find = (one: ComparedMoment, other: ComparedMoment): Promise<FoundFiles> =>
      this.engine.find(
        one.table.io.store,
        one.table.state,
        isOneState
          ? wishesBetween(one.moment, other.moment, one.table.layout)
          : wishesOf(one.moment, one.table.layout),
      );
    let files: [Files, Files] = [await find(from, to), await find(to, from)];
    if (!isOneState && isSameMoment(from.moment, to.moment)) files = withoutShared(...files);
    const stateOf = (at: 0 | 1, moment: Moment, except: Moment): ComparedState => ({
      ...forEngine(files[at]),
      moment,
      except: isOneState ? except : null,
    });
    const request: CompareRequest = {
      layout,
      from: stateOf(0, from.moment, to.moment),
      to: stateOf(1, to.moment, from.moment),
      ...question,
    };
    return this.engine.run(to.table.io.store, (engine, answers) => engine.compare(request, answers));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    (await this.#store?.catch(() => null))?.close();
  }
}
