// Owns the events of a merge as rows of the engine's database: they go in while they are decoded, so that no
// image stays in this process's own memory. Knows no rule.
import type { EngineValue } from '../columns-value.ts';
import { keyBucket } from './buckets.ts';
import type { Database, TableAppender } from './database.ts';
import { EventGroups } from './event-groups.ts';
import type { MergeRequest } from './protocol.ts';
import { columnDefinitions, columnList, quoteText } from './sql.ts';
import type { TableFields } from './table-fields.ts';

export type StagedEvent = {
  ordinal: number;
  op: string;
  /** Values of the key's columns. */
  key: readonly EngineValue[];
  /** It says all of its row, and belongs to no other key's. */
  isWhole: boolean;
  /** Columns that the table cannot hold. */
  incomplete: readonly string[] | null;
};

const OPS = ['c', 'u', 'r', 'd'] as const;
/** How `event_row` has it. */
export const DELETE_OP = OPS.indexOf('d');
/** Columns of `event_row` before the user's. */
const OWN_TYPES = ['int', 'int', 'double', 'int', 'int', 'boolean'] as const;
const NAMES = { type: 'list', 'element-id': 0, element: 'string', 'element-required': false } as const;

export class EventStage {
  readonly groups: EventGroups;
  /** Events so far: the next one's number, its `n`. */
  count = 0;
  readonly #database: Database;
  readonly #fields: TableFields;
  readonly #ops: string[] = [...OPS];
  readonly #incomplete: { n: number; names: readonly string[] }[] = [];
  readonly #bucketOf: ReturnType<typeof keyBucket>;
  #rows: TableAppender | null = null;

  constructor(database: Database, fields: TableFields, request: MergeRequest) {
    this.#database = database;
    this.#fields = fields;
    this.groups = new EventGroups(request);
    this.#bucketOf = keyBucket(fields.key, request);
  }

  /**
   * Runs `work`, which adds events, and leaves the tables `event_row` (n, event_group, ordinal, op, bucket,
   * is_ruled, and the user's columns; a delete has its key's alone), `event_group` and `event_incomplete`,
   * and the view `event` of all three. `work` must not use the database.
   */
  async fill(work: () => Promise<void>): Promise<void> {
    const database = this.#database;
    const { user } = this.#fields;
    await database.run(
      'CREATE OR REPLACE TEMP TABLE event_row (n INTEGER, event_group INTEGER, ordinal DOUBLE, op INTEGER, ' +
        `bucket INTEGER, is_ruled BOOLEAN, ${columnDefinitions(user)})`,
    );
    {
      const types = [...OWN_TYPES, ...user.map(({ type }) => type)];
      await using rows = await database.appender('event_row', types);
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

  /** Events with a column that the table cannot hold. */
  get incomplete(): number {
    return this.#incomplete.length;
  }

  /** Adds an event of the last group. `values`: by the user's columns. */
  add({ ordinal, op, key, isWhole, incomplete }: StagedEvent, values: readonly EngineValue[]): void {
    const n = this.count++;
    if (!this.#ops.includes(op)) this.#ops.push(op);
    const bucket = this.#bucketOf({ values: key });
    const isRuled = !isWhole || this.groups.isRuled;
    const group = this.groups.list.length - 1;
    this.#rows?.add([n, group, ordinal, this.#ops.indexOf(op), bucket, isRuled, ...values], bucket ?? 0);
    if (incomplete !== null) this.#incomplete.push({ n, names: incomplete });
  }

  async #addGroups(): Promise<void> {
    const database = this.#database;
    const groups = this.groups.list;
    const incomplete = this.#incomplete;
    await database.run(
      'CREATE OR REPLACE TEMP TABLE event_group ' +
        '(event_group INTEGER, first VARCHAR, ts TIMESTAMPTZ, tx VARCHAR)',
    );
    await database.append(
      'event_group',
      [
        { type: 'int', value: (row) => row },
        { type: 'string', value: (row) => groups[row]!.transaction },
        { type: 'timestamptz', value: (row) => groups[row]!.ts },
        { type: 'string', value: (row) => groups[row]!.tx },
      ],
      groups.length,
    );
    await database.run('CREATE OR REPLACE TEMP TABLE event_incomplete (n INTEGER, names VARCHAR[])');
    await database.append(
      'event_incomplete',
      [
        { type: 'int', value: (row) => incomplete[row]!.n },
        { type: NAMES, value: (row) => incomplete[row]!.names },
      ],
      incomplete.length,
    );
  }
}
