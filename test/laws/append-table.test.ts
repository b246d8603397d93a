// Laws of a table in append mode: a row for every event that was ever published, once, as the event was, in
// whatever order, however often and cut into whatever batches they come.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import type { Barrier } from '../../src/sinks/parquet/scd2-version.ts';
import { EngineTable, SharedEngine } from '../sinks/engine/engine-table.ts';
import { mergeDelivery } from '../sinks/engine/model-events.ts';
import { atLevel } from '../support/level.ts';
import { arrivals, deliver, histories } from './scd2-history.ts';
import type { Event } from './scd2-model.ts';
import { deliveries } from './scd2-table.ts';

const RUNS = atLevel({ test: 10, all: 150, deep: 1500 });
const NAMES = ['a', 'b'];

const shared = new SharedEngine();
const { engine } = shared;
after(() => shared[Symbol.asyncDispose]());

type Line = Readonly<Record<string, unknown>>;

const eventLine = ({ key, order, op, tx, values, unchanged }: Event): Line => ({
  id: key,
  a: unchanged.includes(0) ? null : (values[0] ?? null),
  b: unchanged.includes(1) ? null : (values[1] ?? null),
  _op: op,
  _order: order,
  _tx: tx,
  _incomplete: unchanged.length === 0 ? null : unchanged.map((at) => NAMES[at]),
});

const truncateLine = ({ order }: Barrier): Line => ({
  id: null,
  a: null,
  b: null,
  _op: 't',
  _order: order,
  _tx: '',
  _incomplete: null,
});

const textOf = ({ _order, _op }: Line): string => `${_order} ${_op === 'd' ? 0 : 1}`;
const sorted = (lines: readonly Line[]): Line[] =>
  lines.toSorted((one, other) => (textOf(one) < textOf(other) ? -1 : 1));

describe('a list of events', () => {
  it('holds each of them once, in any order and cut', async () => {
    await fc.assert(
      fc.asyncProperty(histories(6), arrivals, async ({ events, barriers }, arrival) => {
        using table = new EngineTable({ engine, mode: 'append' });
        for (const batch of deliver(deliveries(events, barriers), arrival)) await mergeDelivery(table, batch);
        const found = (await table.rows('_order')).map(({ _commit_ts: _at, ...row }) => row);
        const truncates = barriers.filter(({ kind }) => kind === 't').map(truncateLine);
        assert.deepEqual(sorted(found), sorted([...events.map(eventLine), ...truncates]));
        assert.ok(table.results.every(({ dead }) => dead.length === 0));
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  });
});
