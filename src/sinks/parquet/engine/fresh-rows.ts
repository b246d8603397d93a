// Owns writing versions: new ones from their images, closed or reopened ones from the rows they were,
// sorted into one file a partition. Knows no rule.
import type { EngineValue } from '../columns-value.ts';
import type { KeyResult, Version } from '../scd2-version.ts';
import { keyBucket } from './buckets.ts';
import type { ColumnInput, Database } from './database.ts';
import type { PastRows } from './latest-past.ts';
import type { NextRows } from './next-rows.ts';
import type { OutputFiles } from './output-files.ts';
import type { TableFiles } from './protocol.ts';
import type { RowStore } from './row-store.ts';
import { columnDefinitions, columnList, columnOf } from './sql.ts';
import type { TableFields } from './table-fields.ts';
import type { TouchedKey, TouchedKeys } from './touched-keys.ts';

type FreshParts = {
  database: Database;
  fields: TableFields;
  store: RowStore;
  request: Pick<TableFiles, 'spec'>;
  past: PastRows | null;
};

/** Versions and, in step, their buckets. */
class Rows {
  readonly versions: Version<number>[] = [];
  readonly buckets: (number | null)[] = [];

  push(version: Version<number>, bucket: number | null): void {
    this.versions.push(version);
    this.buckets.push(bucket);
  }
}

export class FreshRows {
  readonly #database: Database;
  readonly #fields: TableFields;
  readonly #store: RowStore;
  readonly #request: FreshParts['request'];
  readonly #past: PastRows | null;

  constructor({ database, fields, store, request, past }: FreshParts) {
    this.#database = database;
    this.#fields = fields;
    this.#store = store;
    this.#request = request;
    this.#past = past;
  }

  async write(
    results: readonly KeyResult<number>[],
    { touched, next }: { touched: TouchedKeys; next: NextRows },
    output: OutputFiles,
  ): Promise<void> {
    const bucketOf = keyBucket(this.#fields.key, this.#request);
    const made = new Rows();
    const kept = new Rows();
    const partitions = new Map<number, readonly [current: boolean, bucket: number | null]>();
    for (const [isCurrent, bucket] of await next.partitions())
      partitions.set((bucket ?? 0) * 2 + Number(isCurrent), [isCurrent, bucket]);
    for (const { key, written } of results) {
      if (written.length === 0) continue;
      const bucket = bucketOf(touched.keys.get(key) as TouchedKey);
      for (const version of written) {
        (version.stored === null ? made : kept).push(version, bucket);
        const isCurrent = version.orderEnd === null;
        const number = (bucket ?? 0) * 2 + Number(isCurrent);
        if (!partitions.has(number)) partitions.set(number, [isCurrent, bucket]);
      }
    }
    const { all, stored, key } = this.#fields;
    await this.#database.run(
      `CREATE OR REPLACE TEMP TABLE fresh_row (bucket INTEGER, ${columnDefinitions(all)})`,
    );
    await this.#appendMade(made);
    await this.#appendKept(kept);
    const isCurrentColumn = this.#fields.column('is_current');
    for (const [isCurrent, bucket] of partitions.values()) {
      const inBucket = bucket === null ? '' : ` AND bucket = ${bucket}`;
      const ruled = `FROM fresh_row WHERE ${isCurrentColumn} = ${isCurrent}${inBucket}`;
      const plain = next.selectRows(isCurrent, bucket);
      const rows = `(${plain} UNION ALL SELECT ${columnList(all)} ${ruled})`;
      if (!isCurrent && this.#past !== null) {
        await this.#past.add(rows);
        continue;
      }
      await output.writeData(rows, {
        fields: stored,
        // One row of a key stands.
        sort: columnList(isCurrent ? key : [...key, this.#fields.all[this.#fields.indexOf('_order')]!]),
        partition: [...(this.#past === null ? [isCurrent] : []), ...(bucket === null ? [] : [bucket])],
      });
    }
    await this.#database.run('DROP TABLE fresh_row');
  }

  async #appendMade({ versions, buckets }: Rows): Promise<void> {
    const version = (row: number): Version<number> => versions[row]!;
    const own: Readonly<Record<string, (row: number) => EngineValue>> = {
      valid_from: (row) => version(row).from,
      valid_to: (row) => version(row).to,
      is_current: (row) => version(row).orderEnd === null,
      _op: (row) => version(row).op,
      _order: (row) => version(row).order,
      _order_end: (row) => version(row).orderEnd,
      _commit_ts: (row) => version(row).ts,
      _tx: (row) => version(row).tx,
      _closed_by: (row) => version(row).closedBy,
      _previous_key: (row) => version(row).previousKey,
      _incomplete: (row) => {
        const names = this.#store.incomplete[version(row).image]!;
        return names.length === 0 ? null : names;
      },
    };
    const user = this.#fields.user.map(({ type }, at): ColumnInput => {
      const column = this.#store.columns[at]!;
      return { type, value: (row) => column[version(row).image] ?? null };
    });
    const columns: ColumnInput[] = [
      { type: 'int', value: (row) => buckets[row] ?? null },
      ...user,
      ...this.#fields.own.map(({ name, type }) => ({ type, value: own[name] ?? (() => null) })),
    ];
    await this.#database.append('fresh_row', columns, versions.length);
  }

  /** Only where a row ends differs from the row it was: the rest never leaves the engine. */
  async #appendKept({ versions, buckets }: Rows): Promise<void> {
    if (versions.length === 0) return;
    const version = (row: number): Version<number> => versions[row]!;
    await this.#database.run(
      'CREATE OR REPLACE TEMP TABLE kept_row (n BIGINT, bucket INTEGER, start_ts TIMESTAMPTZ, ' +
        'end_ts TIMESTAMPTZ, order_end VARCHAR, closed_by VARCHAR)',
    );
    const columns: ColumnInput[] = [
      { type: 'long', value: (row) => BigInt(version(row).stored ?? -1) },
      { type: 'int', value: (row) => buckets[row] ?? null },
      { type: 'timestamptz', value: (row) => version(row).from },
      { type: 'timestamptz', value: (row) => version(row).to },
      { type: 'string', value: (row) => version(row).orderEnd },
      { type: 'string', value: (row) => version(row).closedBy },
    ];
    await this.#database.append('kept_row', columns, versions.length);
    const changed: Readonly<Record<string, string>> = {
      valid_from: 'k.start_ts',
      valid_to: 'k.end_ts',
      is_current: 'k.order_end IS NULL',
      _order_end: 'k.order_end',
      _closed_by: 'k.closed_by',
    };
    const own = this.#fields.own.map((field) => changed[field.name] ?? `s.${columnOf(field)}`);
    const user = this.#fields.user.map((field) => `s.${columnOf(field)}`);
    await this.#database.run(
      `INSERT INTO fresh_row SELECT k.bucket, ${[...user, ...own].join(', ')} FROM stored_row s ` +
        'JOIN kept_row k ON s.n = k.n',
    );
    await this.#database.run('DROP TABLE kept_row');
  }
}
