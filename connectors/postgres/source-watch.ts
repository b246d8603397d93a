// Owns the watch beside the log: looks for rows that changed without events (what counts as that is
// rewrites.ts's), and lets `stale` in between transactions. Knows no pipeline.
//   log:    BEGIN .. COMMIT | BEGIN .. relation described anew .. COMMIT | stale | BEGIN ..
//   looks:  ^ at the start                ^ at once                          ^ and every 10 s
import type { LogChunk, LogReader } from '../../src/capture/log-reader.ts';
import type { LogEvent, ResumePoint, Stale } from '../../src/change/event.ts';
import { type TableName, tableText } from '../../src/change/schema.ts';
import { asVarveError } from '../../src/errors.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import { type LogReaderOptions, makeLogReader } from './log-reader.ts';
import { detectRewrite, type TableFacts } from './rewrites.ts';

const LOOK_MS = 10_000;

type WatchOptions = {
  log: LogReaderOptions<PreparedTable>;
  /**
   * What the tables' rows in the topic are known to agree with; moved on by harmless changes, by others not.
   */
  facts: Map<string, TableFacts>;
  /** Names of the captured tables, asked once. */
  tables: () => Promise<readonly TableName[]>;
  look: (
    tables: readonly TableName[],
    before: ReadonlyMap<string, TableFacts>,
  ) => Promise<Map<string, TableFacts>>;
  onRewrite: 'stop' | 'ignore';
  warn: (message: string) => void;
  lookMs?: number;
};

export class WatchedLog implements LogReader<PreparedTable> {
  readonly #options: WatchOptions;
  readonly #log: LogReader<PreparedTable>;
  readonly #names = new Map<string, TableName>();
  readonly #described = new Map<string, PreparedTable>();
  readonly #reported = new Set<string>();
  readonly #waiting: Stale[] = [];
  #last: PreparedTable | null = null;
  #isInTransaction = false;
  #looking: Promise<void> | null = null;
  #isLookDue = false;
  #isOver = false;
  #failure: unknown;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#log = makeLogReader(options.log);
  }

  async *read(after: ResumePoint, signal: AbortSignal): AsyncGenerator<LogChunk<PreparedTable>> {
    for (const name of await this.#options.tables()) this.#names.set(tableText(name), name);
    await this.#look();
    const timer = setInterval(() => this.#lookSoon(), this.#options.lookMs ?? LOOK_MS);
    try {
      for await (const chunk of this.#log.read(after, signal)) {
        yield {
          next: () => this.#next(chunk),
          get behind() {
            return chunk.behind;
          },
        };
      }
    } finally {
      // A look that is under way is not waited for: its connection may be as dead as the log's.
      clearInterval(timer);
      this.#isOver = true;
    }
  }

  confirm(point: ResumePoint): void {
    this.#log.confirm(point);
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  #next(chunk: LogChunk<PreparedTable>): LogEvent<PreparedTable> | null {
    if (!this.#isInTransaction) {
      if (this.#failure !== undefined) throw this.#failure;
      const stale = this.#waiting.shift();
      if (stale !== undefined) return stale;
    }
    const event = chunk.next();
    if (event === null) return null;
    if (event.kind === 'begin') this.#isInTransaction = true;
    else if (event.kind === 'commit') this.#isInTransaction = false;
    else if (event.kind === 'row' && event.table !== this.#last) this.#meet(event.table);
    return event;
  }

  /** Another object of the same table: the log has described it anew. */
  #meet(table: PreparedTable): void {
    this.#last = table;
    const text = tableText(table.schema.name);
    const known = this.#described.get(text);
    this.#described.set(text, table);
    if (known === table) return;
    const isNew = !this.#names.has(text);
    this.#names.set(text, table.schema.name);
    if (known !== undefined || isNew) this.#lookSoon();
  }

  #lookSoon(): void {
    if (this.#isOver) return;
    if (this.#looking !== null) {
      this.#isLookDue = true;
      return;
    }
    this.#looking = this.#look().finally(() => {
      this.#looking = null;
      if (!this.#isLookDue) return;
      this.#isLookDue = false;
      this.#lookSoon();
    });
  }

  /** Never rejects: what cannot come right by itself is thrown to the reader of the log. */
  async #look(): Promise<void> {
    const { look, facts, warn } = this.#options;
    try {
      const found = await look([...this.#names.values()], facts);
      if (this.#isOver) return;
      for (const [text, now] of found) this.#compare(text, now);
    } catch (thrown) {
      if (this.#isOver) return;
      const error = asVarveError(thrown);
      if (error.outcome === 'retry') warn(`Could not look for rewritten tables: ${error.message}`);
      else this.#failure = error;
    }
  }

  #compare(text: string, now: TableFacts): void {
    const { facts, onRewrite, warn } = this.#options;
    const before = facts.get(text);
    const reason = before === undefined ? null : detectRewrite(before, now);
    if (reason === null) {
      facts.set(text, now);
      return;
    }
    if (onRewrite === 'ignore') {
      warn(`Rows of ${text} changed without events (${reason}); source.on_rewrite says to ignore that.`);
      facts.set(text, now);
      return;
    }
    const table = this.#names.get(text);
    if (table === undefined || this.#reported.has(text)) return;
    this.#reported.add(text);
    this.#waiting.push({ kind: 'stale', table, reason });
  }
}
