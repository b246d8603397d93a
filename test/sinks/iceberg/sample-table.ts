// Owns one real table on disk that has lived: appends, row deltas with position deletes, a rewrite, columns
// added, renamed and widened, another bucket count, merged manifests, expired snapshots. And what its rows
// must be.
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bucketOf } from '../../../src/sinks/parquet/iceberg/bucket.ts';
import { type Change, commit, createTable } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { evolveColumns, evolveSpec } from '../../../src/sinks/parquet/iceberg/schema.ts';
import { liveFiles, type TableIo, type TableState } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import type { DataFile, IcebergField, LiveFile } from '../../../src/sinks/parquet/iceberg-type.ts';
import { dataFile as dataFileUri, deleteFile, metadataFile } from '../../../src/sinks/parquet/layout.ts';
import { fromFileUri, openLocalStore, toFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { ParquetFiles, positionDeletes } from './parquet-files.ts';

const optional = (name: string, type: IcebergField['type']) => ({ id: null, name, required: false, type });

const FIRST_COLUMNS = [
  { id: null, name: 'pk', required: true, type: 'long' as const },
  optional('Имя, "quoted"', 'string'),
  optional('amount', 'decimal(12, 2)'),
  optional('big', 'decimal(38, 10)'),
  optional('n', 'int'),
  optional('f', 'float'),
  optional('d', 'double'),
  optional('day', 'date'),
  optional('tod', 'time'),
  optional('ts', 'timestamp'),
  optional('tz', 'timestamptz'),
  optional('u', 'uuid'),
  optional('raw', 'binary'),
  optional('tags', { type: 'list', 'element-id': 0, element: 'string', 'element-required': false }),
  { id: null, name: 'is_current', required: true, type: 'boolean' as const },
];

/**
 * Version `generation` of the row with this key, in SQL; every type, NULLs, extremes, text beyond 16
 * characters.
 */
const rowSql = (generation: number): string => `
  pk, CASE WHEN pk % 7 <> 0 THEN 'строка-длиннее-шестнадцати-' || pk || '-${generation}' END
    AS "Имя, ""quoted""",
  (pk * 17 - 900)::DECIMAL(12, 2) / 4 AS amount, -pk::DECIMAL(38, 10) / 3 AS big,
  (pk * ${generation})::INT AS n,
  CASE WHEN pk % 11 = 0 THEN 'nan'::FLOAT ELSE pk / 3.0 END AS f,
  CASE WHEN pk % 5 = 0 THEN -0.0 ELSE -pk * 1e100 END AS d,
  DATE '1900-01-01' + pk::INT AS day, TIME '00:00:00.000001' + INTERVAL (pk) SECOND AS tod,
  TIMESTAMP '1969-12-31 23:59:59.999999' + INTERVAL (pk) MICROSECOND AS ts,
  TIMESTAMPTZ '2024-02-29 12:00:00+00' - INTERVAL (pk) DAY AS tz, md5(pk::VARCHAR)::UUID AS u,
  CASE WHEN pk % 3 = 0 THEN NULL ELSE unhex(md5(pk::VARCHAR) || md5((pk + 1)::VARCHAR)) END AS raw,
  CASE WHEN pk % 4 = 0 THEN NULL WHEN pk % 4 = 1 THEN [] ELSE ['a', NULL, pk::VARCHAR] END AS tags`;

export type SampleTable = {
  io: TableIo;
  state: TableState;
  directory: string;
  /** Path of the newest metadata file. */
  metadata: string;
  /**
   * For each kept snapshot, the `pk:n` of all rows that it must show, sorted; n is NULL for row generations
   * 0.
   */
  expected: Map<bigint, { current: string[]; history: number }>;
} & AsyncDisposable;

type Row = { pk: number; generation: number };
type Held = { file: DataFile; rows: (Row | null)[] };

/** What the table should hold, kept beside it in plain arrays. */
class Life {
  readonly files: Held[] = [];
  readonly #io: TableIo;
  readonly #parquet: ParquetFiles;
  readonly #directory: string;
  readonly expected = new Map<bigint, { current: string[]; history: number }>();
  state: TableState;
  buckets = 4;
  #count = 0;

  constructor(
    io: TableIo,
    parquet: ParquetFiles,
    { directory, state }: { directory: string; state: TableState },
  ) {
    this.#io = io;
    this.#parquet = parquet;
    this.#directory = directory;
    this.state = state;
  }

  async write(rows: readonly Row[], current: boolean, fields = this.state.fields): Promise<DataFile[]> {
    const made: DataFile[] = [];
    const spec = evolveSpec(
      { specs: this.state.specs, lastPartitionId: this.state.metadata['last-partition-id'] },
      this.partition(),
      fields,
    ).spec;
    for (const [bucket, part] of Map.groupBy(rows, ({ pk }) => bucketOf('long', BigInt(pk), this.buckets))) {
      const selects = part.map(({ pk, generation }) => {
        const renamed = fields.some(({ name }) => name === 'note')
          ? `, 'note-${generation}' AS note, n AS renamed`
          : '';
        const row = `SELECT ${rowSql(generation)} FROM (SELECT ${pk}::BIGINT AS pk)`;
        return `SELECT *${renamed}, ${current} AS is_current FROM (${row})`;
      });
      const uri = dataFileUri(this.state.location, 'sample', ++this.#count);
      const place = {
        store: this.#io.store,
        directory: this.#directory,
        uri,
        specId: spec.specId,
        partition: [current, bucket],
      };
      const file = await this.#parquet.data(selects.join(' UNION ALL '), fields, place);
      this.files.push({ file, rows: [...part] });
      made.push(file);
    }
    return made;
  }

  partition() {
    const id = (name: string): number => this.state.fields.find((field) => field.name === name)?.id ?? 0;
    return [
      { sourceId: id('is_current'), transform: 'identity' },
      { sourceId: id('pk'), transform: `bucket[${this.buckets}]` },
    ];
  }

  /** Delete files that take these keys out of the current rows; the closed rows are returned. */
  async close(keys: ReadonlySet<number>): Promise<{ deletes: DataFile[]; closed: Row[] }> {
    const deletes: DataFile[] = [];
    const closed: Row[] = [];
    for (const held of this.files) {
      const hit = held.rows.flatMap((row, at) =>
        row && held.file.partition[0] === true && keys.has(row.pk) ? [at] : [],
      );
      if (hit.length === 0) continue;
      const uri = deleteFile(this.state.location, 'sample', ++this.#count);
      deletes.push(await positionDeletes(held.file, hit.map(BigInt), { store: this.#io.store, uri }));
      for (const at of hit) {
        const row = held.rows[at];
        if (row) closed.push(row);
        held.rows[at] = null;
      }
    }
    return { deletes, closed };
  }

  async commit(
    operation: 'append' | 'overwrite' | 'replace',
    add: readonly DataFile[],
    more: Partial<Change> & { remove?: LiveFile[] } = {},
  ) {
    const { remove = [], ...rest } = more;
    const id = BigInt(1000 + this.state.version);
    const base = operation === 'replace' ? { baseSequence: this.state.metadata['last-sequence-number'] } : {};
    const snapshot = { id, operation, add, remove, summary: { 'varve.step': String(id) }, ...base };
    this.state = await commit(this.#io, this.state, {
      ...rest,
      snapshot,
      merge: { mergeAt: 6, maxBytes: 1 << 20 },
    });
    const rows = this.files.flatMap(({ file, rows: held }) =>
      held.flatMap((row) => (row ? [{ ...row, current: file.partition[0] === true }] : [])),
    );
    this.expected.set(id, {
      current: rows
        .filter(({ current }) => current)
        .map(({ pk, generation }) => `${pk}:${pk * generation}`)
        .sort(),
      history: rows.filter(({ current }) => !current).length,
    });
  }

  /** New versions of these keys, as the sink does it: positions out, closed copies and new rows in. */
  async delta(keys: readonly number[], generation: number, more: Partial<Change> = {}): Promise<void> {
    const { deletes, closed } = await this.close(new Set(keys));
    const history = await this.write(closed, false);
    const current = await this.write(
      keys.map((pk) => ({ pk, generation })),
      true,
    );
    await this.commit('overwrite', [...deletes, ...history, ...current], more);
  }

  /** All current files of the newest bucket count into one file a bucket, their delete files gone. */
  async compact(): Promise<void> {
    const live = await liveFiles(this.#io.store, this.state);
    const old = this.files.filter(
      ({ file }) => file.partition[0] === true && file.specId === this.state.spec.specId,
    );
    const paths = new Set(old.map(({ file }) => file.path));
    const remove = [...live.values()].filter(
      (file) => paths.has(file.path) || paths.has(file.referencedDataFile ?? ''),
    );
    for (const held of old) this.files.splice(this.files.indexOf(held), 1);
    const rows = old.flatMap(({ rows: held }) => held.filter((row) => row !== null));
    await this.commit('replace', await this.write(rows, true), { remove });
  }
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

/** A column more, one renamed, three wider: in the same commit as the first rows that have them. */
const changeColumns = async (life: Life): Promise<void> => {
  const wider = life.state.fields.map((field) => {
    if (field.name === 'n') return { ...field, name: 'renamed', type: 'long' as const };
    if (field.name === 'f') return { ...field, type: 'double' as const };
    return field.name === 'amount' ? { ...field, type: 'decimal(20, 2)' as const } : field;
  });
  const columns = evolveColumns(
    { fields: life.state.fields, lastColumnId: life.state.metadata['last-column-id'] },
    [...wider, optional('note', 'string')],
  ).fields;
  await life.commit(
    'append',
    await life.write(
      range(60, 70).map((pk) => ({ pk, generation: 4 })),
      true,
      columns,
    ),
    { columns },
  );
};

/**
 * `time: false` leaves out the column that Spark refuses the whole table for; `expire: false` keeps all
 * snapshots.
 */
export const makeSampleTable = async ({ time = true, expire = true } = {}): Promise<SampleTable> => {
  const directory = await mkdtemp(join(tmpdir(), 'varve-sample-'));
  const io: TableIo = {
    store: openLocalStore(directory, { uuid: randomUUID }),
    now: Date.now,
    uuid: randomUUID,
    onHintFailure: (thrown) => {
      throw thrown;
    },
  };
  const location = `${toFileUri(directory)}/public/orders`;
  const { fields } = evolveColumns(
    { fields: [], lastColumnId: 0 },
    FIRST_COLUMNS.filter(({ type }) => time || type !== 'time'),
  );
  const idOf = (name: string): number => fields.find((field) => field.name === name)?.id ?? 0;
  const partition = [
    { sourceId: idOf('is_current'), transform: 'identity' },
    { sourceId: idOf('pk'), transform: 'bucket[4]' },
  ];
  using parquet = await ParquetFiles.open();
  const made = await createTable(io, location, { columns: fields, partition, sort: [], properties: {} });
  const life = new Life(io, parquet, { directory, state: made });
  await life.commit(
    'append',
    await life.write(
      range(0, 60).map((pk) => ({ pk, generation: 1 })),
      true,
    ),
  );
  await life.delta(range(0, 20), 2);
  await life.delta(range(10, 30), 3);
  await life.compact();
  await changeColumns(life);
  life.buckets = 8;
  await life.delta(range(5, 15), 5, { partition: life.partition() });
  await life.delta(range(60, 65), 6);
  await life.compact();
  const policy = { maxAgeMs: 3_600_000, minKeep: 1, maxKeep: 5 };
  await life.delta([1, 2, 3], 7, expire ? { expire: policy } : {});
  const kept = new Set(life.state.metadata.snapshots.map((snapshot) => BigInt(snapshot['snapshot-id'])));
  return {
    io,
    state: life.state,
    directory,
    metadata: metadataPath(life.state),
    expected: new Map([...life.expected].filter(([id]) => kept.has(id))),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
};

/** Where readers find this version. */
export const metadataPath = ({ location, version }: TableState): string =>
  fromFileUri(metadataFile(location, version));

/** All files ten days old, because an orphan search looks at nothing younger than three. */
export const makeOld = async ({ directory }: SampleTable): Promise<void> => {
  const then = new Date(Date.now() - 10 * 86_400_000);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), then, then);
};
