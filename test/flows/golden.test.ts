// Wire conformance: every recorded case of a real Debezium runs on a real server through `varve run`, and
// what stands on the topics is compared record by record. A folder dropped into the fixtures is a test.
import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Order, transactionOf } from '../../src/change/order.ts';
import {
  compareWithGolden,
  type DecodedRecord,
  decodeRecorded,
  GOLDEN,
  goldenCases,
  loadGolden,
} from '../support/golden.ts';
import { publishScripts, readScripts, readSettings } from '../support/golden-run.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { differencesOf, formatOf, OPTIONS, OUT_OF_SCOPE } from './golden-differences.ts';

type Source = {
  table: string;
  snapshot: string;
  sequence: string;
  lsn: bigint;
  txId: bigint | null;
  ts_us: bigint;
};

const sourceOf = ({ value }: DecodedRecord): Source | null =>
  (value as { source: Source } | null)?.source ?? null;

const orderOf = ({ headers }: DecodedRecord): Order =>
  headers.find(([name]) => name === 'varve.order')?.[1] ?? assert.fail('a record without order');

/** What Varve says beside the changes has no order. */
const isChange = ({ topic }: DecodedRecord): boolean =>
  !topic.startsWith('__debezium-heartbeat.') && topic !== 'golden.transaction';

/** What holds of the fields that the comparison masks, because they differ from run to run. */
const checkPositions = (records: readonly DecodedRecord[]): void => {
  const transactions = new Map<string, string>();
  for (const list of Map.groupBy(records.filter(isChange), ({ topic }) => topic).values()) {
    const orders = list.map(orderOf);
    assert.deepEqual(orders, orders.toSorted(), 'orders rise within a topic');
    const positions = list.flatMap((record) => sourceOf(record)?.lsn ?? []);
    assert.deepEqual(
      positions,
      positions.toSorted((a, b) => Number(a - b)),
      'positions do not fall within a topic',
    );
  }
  for (const record of records) {
    const source = sourceOf(record);
    if (source === null) continue;
    const { lsn, txId, ts_us, snapshot } = source;
    const [committed, position] = JSON.parse(source.sequence) as [string | null, string];
    assert.equal(position, String(lsn), 'sequence ends with the position');
    assert.ok(committed === null || BigInt(committed) <= lsn, 'what was committed lies before');
    assert.equal(txId === null, snapshot !== 'false', 'streamed rows have a transaction');
    const transaction = transactionOf(orderOf(record));
    const facts = `${txId} at ${ts_us}`;
    assert.equal(transactions.get(transaction) ?? facts, facts, 'one id and one time a transaction');
    transactions.set(transaction, facts);
  }
  assert.equal(new Set(transactions.values()).size, transactions.size, 'each transaction has its own id');
};

type Numbered = { id: string; total_order: bigint };
type Boundary = { status: string; id: string; event_count: bigint | null };

const boundaryOf = ({ key, value }: DecodedRecord): Boundary => {
  const boundary = value as unknown as Boundary;
  assert.equal((key as { id: string }).id, boundary.id);
  return boundary;
};

const cases = goldenCases('postgres');

describe('recorded cases', () => {
  let server: TestPostgres;

  before(async () => {
    server = await startPostgres({ major: 15 });
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  for (const caseDir of cases) {
    const name = basename(caseDir);
    if (OUT_OF_SCOPE.has(name)) continue;
    it(name, async () => {
      const format = formatOf(readSettings(caseDir));
      const records = await publishScripts(server, readScripts(caseDir), { ...OPTIONS.get(name), format });
      compareWithGolden(caseDir, records, differencesOf(name));
      checkPositions(records);
    });
  }

  for (const name of ['types-extension', 'types-geo-range-fts']) {
    it(`${name}, with types left out that Debezium leaves out`, async () => {
      const caseDir = join(GOLDEN, 'postgres', name);
      const records = await publishScripts(server, readScripts(caseDir), {
        format: { unknown_types: 'omit' },
      });
      compareWithGolden(caseDir, records);
    });
  }

  it('numbers the events of a transaction under one id, and beats as a recorded heartbeat does', async () => {
    const caseDir = join(GOLDEN, 'postgres', 'tx-metadata-heartbeat');
    const format = formatOf(readSettings(caseDir));
    const records = await publishScripts(server, readScripts(caseDir), { format });
    const marks = records.filter(({ topic }) => topic === 'golden.transaction').map(boundaryOf);
    const open = marks.filter(({ status }) => status === 'BEGIN');
    const closed = marks.filter(({ status }) => status === 'END');
    assert.deepEqual(
      open.map(({ id }) => id),
      closed.map(({ id }) => id),
    );
    const numbered = records.flatMap(
      ({ value }) => (value as { transaction?: Numbered } | null)?.transaction ?? [],
    );
    const counts = Map.groupBy(numbered, ({ id }) => id);
    assert.deepEqual(
      closed.map(({ id, event_count }) => [id, event_count]),
      [...counts].map(([id, events]) => [id, BigInt(events.length)]).sort(),
    );
    for (const events of counts.values()) {
      const total = events.map(({ total_order }) => Number(total_order)).sort((a, b) => a - b);
      assert.deepEqual(
        total,
        [...total.keys()].map((at) => at + 1),
      );
    }
    const recorded = loadGolden(caseDir);
    const isBeat = ({ topic }: { topic: string }): boolean => topic === '__debezium-heartbeat.golden';
    const beat = recorded.records.find(isBeat) ?? assert.fail('no heartbeat was recorded');
    const ours = records.filter(isBeat);
    assert.ok(ours.length > 0);
    const { key, keySchema, valueSchema, headers } = decodeRecorded(beat, recorded);
    for (const { value: _clock, topic: _topic, ...rest } of ours)
      assert.deepEqual(
        { ...rest, key: { ...(rest.key as object) } },
        {
          key: { ...(key as object) },
          keySchema,
          valueSchema,
          headers,
        },
      );
  });

  it('refuses a name that Avro does not have when names are not adjusted', async () => {
    const scripts = readScripts(join(GOLDEN, 'postgres', 'quoted-identifiers-none'));
    await assert.rejects(publishScripts(server, scripts, { format: { names: 'none' } }), {
      kind: 'name_collision',
      message: /topic\.format\.names/,
    });
  });

  it('keeps a leading U+FEFF in names and values, in the snapshot as in the stream', async () => {
    const mark = '\ufeff';
    const values = (id: number): string =>
      `insert into "${mark}t" values (${id}, '${mark}a', '${mark}b', '"${mark}c"', array['${mark}d'],` +
      ` '${mark}e', '${mark}${'long'.repeat(20)}')`;
    const records = await publishScripts(server, {
      setup: `create type mood as enum ('${mark}e');
        create table "${mark}t"(
          "${mark}id" int primary key, v text, c char(3), j json, a text[], e mood, l text);
        ${values(1)}`,
      changes: `${values(2)}; update "${mark}t" set "${mark}id" = 3 where "${mark}id" = 1`,
    });
    const expected = {
      v: '\ufeffa',
      c: '\ufeffb ',
      j: '"\ufeffc"',
      a: ['\ufeffd'],
      e: '\ufeffe',
      l: `\ufeff${'long'.repeat(20)}`,
    };
    const rows = records.flatMap(({ topic, value }) => {
      const after = (value as { after: Record<string, unknown> } | null)?.after;
      return after ? [{ topic, ...after }] : [];
    });
    const topic = 'golden.public._t';
    assert.deepEqual(
      rows,
      [1, 2, 3].map((id) => ({ topic, _id: id, ...expected })),
    );
    const tables = new Set(records.flatMap((record) => sourceOf(record)?.table ?? []));
    assert.deepEqual([...tables], [`${mark}t`]);
  });

  it('names no case that is not there', () => {
    const names = new Set(cases.map((caseDir) => basename(caseDir)));
    assert.deepEqual(
      [...OUT_OF_SCOPE.keys(), ...OPTIONS.keys()].filter((name) => !names.has(name)),
      [],
    );
  });
});
