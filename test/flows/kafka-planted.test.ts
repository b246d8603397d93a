// The checker of topics must be able to fail: faults are planted one by one into records that are right, and
// each is caught by name. Needs no broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatOrder } from '../../src/change/order.ts';
import { checkMarks, checkTopics, type Mark } from '../support/topic-check.ts';
import type { SourceChange, SourceTransaction, TopicRecord } from '../support/topic-rows.ts';

const PARTITIONS = 2;
const LEDGER = 'public.ledger';
const NOTES = 'public.notes';

/** Transactions up to this audit row are in the snapshot. */
const SEAM = 3n;

type Said = readonly [seq: number, op: SourceChange['op'], key: string | null, value: string | null];

const change = (...[seq, op, key, value]: Said): SourceChange => ({
  seq: BigInt(seq),
  table: key === null && op !== 't' ? NOTES : LEDGER,
  op,
  key,
  before: key === null && (op === 'd' || op === 'u') ? ['old'] : null,
  after: value === null ? null : [...(key === null ? [] : [key]), value],
});

const SOURCE: readonly SourceTransaction[] = [
  { tx: '10', changes: [change(1, 'c', '1', 'a'), change(2, 'c', '2', 'b')] },
  { tx: '11', changes: [change(3, 'c', null, 'old')] },
  { tx: '12', changes: [change(4, 'u', '1', 'A'), change(5, 'u', '2', 'B'), change(6, 'd', null, null)] },
  { tx: '13', changes: [change(7, 'u', '1', 'AA'), change(8, 'c', '3', 'c')] },
  // The key 2 becomes 4.
  { tx: '14', changes: [change(9, 'd', '2', null), change(9, 'c', '4', 'B'), change(10, 'c', null, 'new')] },
  { tx: '15', changes: [change(11, 't', null, null), change(12, 'c', '1', 'again')] },
  { tx: '16', changes: [change(13, 'd', '1', null)] },
];

const partitionOf = (key: string | null): number => (key === null ? 0 : Number(key) % PARTITIONS);

class Partitions {
  readonly records: TopicRecord[] = [];
  readonly #ends = new Map<string, bigint>();

  put(record: Omit<TopicRecord, 'offset'>): void {
    const name = `${record.table}/${record.partition}`;
    const offset = this.#ends.get(name) ?? 0n;
    this.#ends.set(name, offset + 1n);
    this.records.push({ ...record, offset });
  }
}

/** What Varve would publish: rows of the seam, then every transaction at a position of its own. */
const published = (): TopicRecord[] => {
  const out = new Partitions();
  const row = (ordinal: number, { table, key, after }: SourceChange): void => {
    const order = formatOrder({ epoch: 1, position: 100n, phase: 0, ordinal });
    const partition = partitionOf(key);
    out.put({ table, partition, op: 'r', key, before: null, after, order, tx: null, atomic: 'write 0.1' });
  };
  const early = SOURCE.flatMap(({ changes }) => changes.filter(({ seq }) => seq <= SEAM));
  for (const [at, one] of early.entries()) row(at + 1, one);
  for (const { tx, changes } of SOURCE.filter((one) => one.changes.every(({ seq }) => seq > SEAM))) {
    for (const { table, op, key, before, after, seq } of changes) {
      const order = formatOrder({ epoch: 1, position: 100n + BigInt(tx), phase: 1, ordinal: Number(seq) });
      const said = { table, key, before, after, order, tx, atomic: `write 0.${tx}` };
      const places = op === 't' ? Array.from({ length: PARTITIONS }, (_, at) => at) : [partitionOf(key)];
      for (const partition of places) out.put({ ...said, op, partition });
      const grave = { ...said, op: null, after: null, tx: null };
      if (op === 'd' && key !== null) out.put({ ...grave, partition: partitionOf(key) });
    }
  }
  return sorted(out.records);
};

const sorted = (records: readonly TopicRecord[]): TopicRecord[] =>
  records.toSorted(
    (a, b) => a.table.localeCompare(b.table) || a.partition - b.partition || Number(a.offset - b.offset),
  );

const RULES = { since: SEAM, partitions: PARTITIONS };
const RIGHT = published();

const find = (tx: string | null, op: TopicRecord['op'], key: string | null): TopicRecord => {
  const found = RIGHT.find((one) => one.tx === tx && one.op === op && one.key === key);
  assert.ok(found, `${tx} ${op} ${key} is not there`);
  return found;
};
const without = (...gone: readonly TopicRecord[]): TopicRecord[] =>
  RIGHT.filter((one) => !gone.includes(one));
const instead = (one: TopicRecord, other: Partial<TopicRecord>): TopicRecord[] =>
  sorted(RIGHT.map((record) => (record === one ? { ...record, ...other } : record)));
const isOf = (tx: string) => (one: TopicRecord) => one.tx === tx;

test('records that are right pass', () => {
  checkTopics(SOURCE, RIGHT, RULES);
});

const swapped = (a: TopicRecord, b: TopicRecord): TopicRecord[] =>
  sorted(
    RIGHT.map((one) =>
      one === a ? { ...a, offset: b.offset } : one === b ? { ...b, offset: a.offset } : one,
    ),
  );

const FAULTS: Readonly<Record<string, { records: TopicRecord[]; says: RegExp }>> = {
  'a dropped record': {
    records: without(find('13', 'c', '3')),
    says: /transaction 13: change 2 of 2 is c public.ledger 3 3\|c, and the topic has nothing/,
  },
  'a dropped record of a table without a key': {
    records: without(find('14', 'c', null)),
    says: /transaction 14 is missing: c public.notes null new/,
  },
  'a dropped transaction': {
    records: without(...RIGHT.filter(isOf('13'))),
    says: /transaction 13 is missing: u public.ledger 1 1\|AA/,
  },
  'a dropped row of the snapshot': {
    records: without(find(null, 'r', '2')),
    says: /the snapshot of public.ledger holds for 2: no row, not 2\|b/,
  },
  'a row of the snapshot that is too new': {
    records: instead(find(null, 'r', '1'), { after: ['1', 'A'] }),
    says: /the snapshot of public.ledger holds for 1: 1\|A, not 1\|a/,
  },
  'a swapped pair': {
    records: swapped(find('12', 'u', '1'), find('13', 'u', '1')),
    says: /is older than public.ledger\/1@/,
  },
  'a pair that is swapped with its order': {
    records: instead(find('12', 'u', '1'), { after: ['1', 'AA'] }),
    says: /change 1 of 3 is u public.ledger 1 1\|A, and the topic has u public.ledger 1 1\|AA/,
  },
  'a duplicate': {
    records: sorted([...RIGHT, { ...find('13', 'c', '3'), offset: 999n }]),
    says: /is there twice: public.ledger\/1@\d+ and public.ledger\/1@999/,
  },
  'a duplicate without a key': {
    records: sorted([...RIGHT, { ...find('14', 'c', null), offset: 999n }]),
    says: /is there twice: public.notes\/0@\d+ and public.notes\/0@999/,
  },
  'a change that was published again under another order': {
    records: sorted([
      ...RIGHT,
      {
        ...find('13', 'c', '3'),
        offset: 999n,
        order: formatOrder({ epoch: 1, position: 900n, phase: 1, ordinal: 0 }),
      },
    ]),
    says: /transaction 13: change 3 of 2 is nothing|is older than/,
  },
  'a transaction that was rolled back': {
    records: sorted([
      ...RIGHT,
      {
        ...find('13', 'c', '3'),
        offset: 999n,
        tx: '99',
        order: formatOrder({ epoch: 1, position: 900n, phase: 1, ordinal: 0 }),
      },
    ]),
    says: /tell of transaction 99, which the source never committed/,
  },
  'a transaction torn over two atomic writes': {
    records: instead(find('12', 'u', '2'), { atomic: 'write 0.13' }),
    says: /transaction 12 is torn: it came in write 0.1[23] and write 0.1[23]/,
  },
  'a transaction of which one partition is missing': {
    records: without(
      ...RIGHT.filter((one) => one.tx === '12' && one.partition === 0 && one.table === LEDGER),
    ),
    says: /transaction 12: change 2 of 3/,
  },
  'a truncate that did not reach a partition': {
    records: without(RIGHT.filter(({ op }) => op === 't')[1] ?? find('15', 't', null)),
    says: /transaction 15: change 2 of 3 is t/,
  },
  'a key in two partitions': {
    records: instead(find('13', 'u', '1'), { partition: 0, offset: 999n }),
    says: /key 1 is in two partitions/,
  },
  'a delete without its tombstone': {
    records: without(RIGHT.filter(({ op }) => op === null)[0] ?? find(null, null, '2')),
    says: /a delete and its tombstone belong together|is a delete without its tombstone/,
  },
  'half of a changed key': {
    records: without(find('14', 'c', '4')),
    says: /transaction 14: change 2 of 3 is c public.ledger 4/,
  },
};

for (const [name, { records, says }] of Object.entries(FAULTS)) {
  test(`${name} is caught`, () => {
    assert.throws(() => checkTopics(SOURCE, records, RULES), says);
  });
}

test('any one record that is dropped is missed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: RIGHT.length - 1 }), (at) => {
      assert.throws(() => checkTopics(SOURCE, RIGHT.toSpliced(at, 1), RULES));
    }),
  );
});

test('any one record that comes again is seen, and allowed only where it says the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: RIGHT.length - 1 }), (at) => {
      const again = RIGHT[at] as TopicRecord;
      const records = sorted([...RIGHT, { ...again, offset: 999n }]);
      assert.throws(() => checkTopics(SOURCE, records, RULES), /is there twice/);
      checkTopics(SOURCE, records, { ...RULES, repeats: true });
      const other = sorted([...RIGHT, { ...again, offset: 999n, after: ['something else'] }]);
      assert.throws(() => checkTopics(SOURCE, other, { ...RULES, repeats: true }), /says something else/);
    }),
  );
});

test('a checkpoint that is ahead of what can be read is caught', () => {
  const ends = (tx: number): Map<string, bigint> => {
    const found = new Map<string, bigint>();
    for (const { table, partition, offset, order } of RIGHT)
      if (order < formatOrder({ epoch: 1, position: BigInt(101 + tx), phase: 0, ordinal: 0 }))
        found.set(`${table}/${partition}`, offset + 1n);
    return found;
  };
  const mark = (covers: number, holds: number): Mark => ({
    what: 'the checkpoint',
    position: BigInt(101 + covers),
    ends: ends(holds),
  });
  checkMarks(RIGHT, [mark(12, 12), mark(14, 14), mark(14, 16)]);
  assert.throws(
    () => checkMarks(RIGHT, [mark(12, 12), mark(13, 12)]),
    /the checkpoint covered public.ledger\/1@/,
  );
});
