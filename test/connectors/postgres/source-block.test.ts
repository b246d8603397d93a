// The block is printed once a transaction and then only printed over: that must not be seen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { makeSourceBlock, makeSourcePosition } from '../../../connectors/postgres/source-block.ts';
import type { TableName } from '../../../src/change/schema.ts';
import { ByteWriter } from '../../../src/topic/byte-writer.ts';
import type { SourceFacts } from '../../../src/topic/prepared-table.ts';
import { atLevel } from '../../support/level.ts';

const TABLES: readonly TableName[] = [
  ['public', 'orders'],
  ['public', 'größen'],
];
const OPTIONS = { pipeline: 'shop', database: 'postgres' };

/** Where the decimal text or the varint of a position gets longer, and where doubles end. */
const EDGES = [9_990n, 99_990n, 2n ** 20n, 2n ** 27n, 2n ** 32n, 10n ** 10n, 2n ** 34n, 2n ** 53n, 2n ** 63n];

/** What all events of one transaction have. */
const SHARED: SourceFacts = {
  table: ['public', 'orders'],
  snapshot: 'false',
  commitTs: 1_800_000_000_000_001n,
};

const step = fc.record({
  advance: fc.nat(5_000),
  table: fc.constantFrom(...TABLES),
  commitTs: fc.constantFrom(-1n, 1_800_000_000_000_001n),
  txId: fc.constantFrom(null, 7, 4_294_967_295),
  commit: fc.constantFrom(-1n, 0n, 2n ** 32n + 5n),
  snapshot: fc.constantFrom<SourceFacts['snapshot']>('false', 'last'),
});

test('a block after others is the one that a fresh block writes', () => {
  const run = fc.array(fc.record({ start: fc.constantFrom(...EDGES), steps: fc.array(step) }));
  fc.assert(
    fc.property(run, fc.boolean(), (parts, isOneTransaction) => {
      const position = makeSourcePosition();
      const used = makeSourceBlock(OPTIONS, position);
      for (const { start, steps } of parts) {
        let lsn = start - 5_000n;
        for (const [at, { advance, commit, txId, ...own }] of steps.entries()) {
          lsn += BigInt(advance);
          const facts = isOneTransaction ? SHARED : own;
          position.lsnHigh = Number(lsn >> 32n);
          position.lsnLow = Number(lsn & 0xffff_ffffn);
          position.commitHigh = commit < 0n || isOneTransaction ? -1 : Number(commit >> 32n);
          position.commitLow = isOneTransaction ? 0 : Number(commit & 0xffff_ffffn);
          position.txId = isOneTransaction ? 9 : txId;
          const [one, other] = [new ByteWriter(), new ByteWriter()];
          used.write(one, facts);
          makeSourceBlock(OPTIONS, position).write(other, facts);
          assert.deepEqual(one.bytes.slice(0, one.pos), other.bytes.slice(0, other.pos), `event ${at}`);
        }
      }
    }),
    { numRuns: atLevel({ test: 200, all: 1_000, deep: 20_000 }) },
  );
});
