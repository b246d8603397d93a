// Owns the events of a merge as rows of the engine's database: they go in while they are decoded, so that no
// image stays in this process's own memory. Knows no rule.
import type { Order } from '../../../change/order.ts';
import type { EngineValue } from '../columns-value.ts';
import type { Database, TableAppender } from './database.ts';
import { columnDefinitions, columnList, quoteText } from './sql.ts';
import type { TableFields } from './table-fields.ts';

/** What the events of one transaction, read one behind the other, share. */
export type EventGroup = { transaction: string; ts: bigint; tx: string; partition: number };

export type StagedEvent = {
  ordinal: number;
  op: string;
  bucket: number | null;
  /** Its key needs the rules. */
  isRuled: boolean;
};

export class EventStage {
  readonly groups: EventGroup[] = [];
  /** Events so far: the next one's number, its `n`. */
  count = 0;
  readonly #database: Database;
  readonly #fields: TableFields;
  readonly #ops: string[] = ['c', 'u', 'r', 'd'];
  readonly #incomplete: { n: number; names: readonly string[] }[] = [];
  readonly #row: EngineValue[];
  #rows: TableAppender | null = null;

  constructor(database: Database, fields: TableFields) {
    this.#database = database;
    this.#fields = fields;
    this.#row = new Array<EngineValue>(6 + fields.user.length).fill(null);
  }

  /**
   * Runs `work`, which adds events, and leaves the tables `event_row` (n, event_group, ordinal, op, bucket,
   * is_ruled, and the user's columns; a delete has its key's alone), `event_group` and `event_incomplete`, and
   * the view `event` of all three. `work` must not use the database.
   */
  async fill(work: () => Promise<void>): Promise<void> {
    const database = this.#database;
    const { user } = this.#fields;
    await database.run(
      'CREATE OR REPLACE TEMP TABLE event_row (n INTEGER, event_group INTEGER, ordinal DOUBLE, op INTEGER, ' +
        `bucket INTEGER, is_ruled BOOLEAN, ${columnDefinitions(user)})`,
    );
    const own = ['int', 'int', 'double', 'int', 'int', 'boolean'] as const;
    {
      await using rows = await database.appender('event_row', [...own, ...user.map(({ type }) => type)]);
      this.#rows = rows;
      await work();
    }
    await this.#addGroups();
    const ops = `[${this.#ops.map(quoteText).join(', ')}]`;
    await database.run(
      `CREATE OR REPLACE TEMP VIEW event AS SELECT e.n, e.bucket, e.is_ruled, ${ops}[e.op + 1] AS op, ` +
        "g.first, g.first || '.' || printf('%012x', CAST(e.ordinal AS BIGINT)) AS event_order, g.ts, g.tx, " +
        `i.names AS incomplete, ${columnList(user, 'e')} FROM event_row e JOIN event_group g ` +
        'ON g.event_group = e.event_group LEFT JOIN event_incomplete i ON i.n = e.n',
    );
  }

  /** At or before every event. */
  get oldest(): Order {
    let oldest = '~';
    for (const { transaction } of this.groups) if (transaction < oldest) oldest = transaction;
    return oldest;
  }

  /** Begins a group: the events added next belong to it. */
  begin(group: EventGroup): void {
    this.groups.push(group);
  }

  /** Adds an event of the last group; returns its number. `values`: by the user's columns. */
  add(
    { ordinal, op, bucket, isRuled }: StagedEvent,
    values: readonly EngineValue[],
    incomplete: readonly string[] | null,
  ): number {
    const n = this.count++;
    const row = this.#row;
    row[0] = n;
    row[1] = this.groups.length - 1;
    row[2] = ordinal;
    row[3] = this.#ops.indexOf(op);
    if (row[3] < 0) row[3] = this.#ops.push(op) - 1;
    row[4] = bucket;
    row[5] = isRuled;
    for (let at = 6; at < row.length; at++) row[at] = values[at - 6]!;
    this.#rows?.add(row, bucket ?? 0);
    if (incomplete !== null) this.#incomplete.push({ n, names: incomplete });
    return n;
  }

  async #addGroups(): Promise<void> {
    const database = this.#database;
    await database.run(
      'CREATE OR REPLACE TEMP TABLE event_group (event_group INTEGER, first VARCHAR, ts TIMESTAMPTZ, tx VARCHAR)',
    );
    await database.append(
      'event_group',
      [
        { type: 'int', value: (row) => row },
        { type: 'string', value: (row) => this.groups[row]!.transaction },
        { type: 'timestamptz', value: (row) => this.groups[row]!.ts },
        { type: 'string', value: (row) => this.groups[row]!.tx },
      ],
      this.groups.length,
    );
    const list = { type: 'list', 'element-id': 0, element: 'string', 'element-required': false } as const;
    await database.run('CREATE OR REPLACE TEMP TABLE event_incomplete (n INTEGER, names VARCHAR[])');
    await database.append(
      'event_incomplete',
      [
        { type: 'int', value: (row) => this.#incomplete[row]!.n },
        { type: list, value: (row) => this.#incomplete[row]!.names },
      ],
      this.#incomplete.length,
    );
  }
}
