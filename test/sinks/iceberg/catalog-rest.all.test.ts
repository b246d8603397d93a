// Commits through a real REST catalog, in front of which a proxy loses answers, refuses, fails after the work
// was done, and is slow: what was said to be done is in the table once, whatever came of the answer.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { sweepOrphans } from '../../../src/sinks/parquet/iceberg/sweep.ts';
import {
  liveFiles,
  loadTable,
  summaryValue,
  type TableIo,
} from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { catalogContract, failsAs, fileOf, load, makeTable } from '../../contract/catalog.ts';
import { atLevel } from '../../support/level.ts';
import { openNessiePlace } from '../../support/nessie-place.ts';
import type { S3Call, S3Fault } from '../../support/s3-proxy.ts';
import { seededRandom } from '../../support/seeded.ts';
import { append } from './table-world.ts';

let place: Awaited<ReturnType<typeof openNessiePlace>>;
before(async () => {
  place = await openNessiePlace();
});
after(() => place[Symbol.asyncDispose]());

catalogContract('Nessie', async () => ({
  io: place.writer(),
  other: place.writer(),
  at: place.nextTable(),
  keepsSnapshots: false,
  [Symbol.asyncDispose]: async () => {},
}));

const isCommit = ({ method, url }: S3Call): boolean => method === 'POST' && /\/tables\/[^/]+$/.test(url);

/** This happens to the next calls of a kind, one after the other; then all is well. */
const inTurn = (matches: (call: S3Call) => boolean, faults: readonly (S3Fault | null)[]): void => {
  const left = [...faults];
  place.proxy.plan = (call) => (matches(call) ? (left.shift() ?? null) : null);
};

const paths = async (io: TableIo, at: string): Promise<string[]> =>
  [...(await liveFiles(io.store, await load(io, at))).keys()].sort();

const answer = (status: number, type: string, done: boolean): S3Fault => {
  const body = JSON.stringify({ error: { message: 'made by a test', type, code: status } });
  return { kind: 'answer', status, code: '', done, body };
};

/** A table of one row file, made past the proxy, and a writer that goes through it. */
const setTable = async (timeout_ms = 20_000) => {
  place.proxy.plan = () => null;
  const at = place.nextTable();
  const direct = place.writer();
  const made = await makeTable(direct, at);
  const first = fileOf(made);
  const base = await commit(direct, made, append([first], { 'varve.offsets': '{"0":"1"}' }));
  return { at, direct, base, first, io: place.writer(place.proxyUri, { timeout_ms }) };
};

const LOST: readonly (readonly [string, readonly S3Fault[]])[] = [
  ['the answer is lost after the work', [{ kind: 'cut', done: true }]],
  ['the connection is cut before the work', [{ kind: 'cut', done: false }]],
  ['500 after the work', [answer(500, 'InternalServerError', true)]],
  ['502 of something in between, after the work', [{ kind: 'answer', status: 502, code: '', done: true }]],
  ['503 before the work, twice', [answer(503, 'SlowDown', false), answer(503, 'SlowDown', false)]],
  ['half an answer', [{ kind: 'half' }]],
  ['409 by somebody who repeats requests', [answer(409, 'CommitFailedException', true)]],
  ['an answer that comes too late', [{ kind: 'silent', done: true }]],
  ['silence, and nothing was done', [{ kind: 'silent', done: false }]],
];

for (const [what, faults] of LOST)
  test(`${what}: the commit is made once`, async () => {
    const { at, direct, base, first, io } = await setTable(1_000);
    const file = fileOf(base);
    inTurn(isCommit, faults);
    const state = await commit(io, base, append([file], { 'varve.offsets': '{"0":"2"}' }));
    assert.deepEqual([...(await liveFiles(io.store, state)).keys()].sort(), [first.path, file.path].sort());
    assert.deepEqual(await paths(direct, at), [first.path, file.path].sort());
    const read = await load(direct, at);
    assert.equal(read.metadata['last-sequence-number'], 2);
    assert.equal(read.snapshot?.summary['varve.offsets'], '{"0":"2"}');
    const more = fileOf(state);
    await commit(io, state, append([more]));
    assert.equal((await paths(direct, at)).length, 3);
  });

for (const [what, faults] of LOST.slice(0, 4))
  test(`${what}: the table is made once`, async () => {
    place.proxy.plan = () => null;
    const at = place.nextTable();
    inTurn(({ method }) => method === 'POST', [null, ...faults, ...faults, ...faults]);
    const state = await makeTable(place.writer(place.proxyUri), at);
    assert.equal((await load(place.writer(), at)).uuid, state.uuid);
    await commit(place.writer(), state, append([fileOf(state)]));
  });

/** Right after the next commit, whose answer is lost. */
const afterLost = (then: () => Promise<unknown>): void => {
  place.proxy.plan = async (call) => {
    if (!isCommit(call)) return null;
    place.proxy.plan = async () => {
      place.proxy.plan = () => null;
      await then();
      return null;
    };
    return { kind: 'cut', done: true };
  };
};

test('an answer is lost, and another engine commits on top: theirs, with ours in it', async () => {
  const { at, direct, base, first, io } = await setTable();
  const mine = fileOf(base);
  let id = 0n;
  afterLost(async () => {
    id = await place.commitForeign(await load(direct, at));
  });
  const state = await commit(io, base, append([mine], { 'varve.offsets': '{"0":"2"}' }));
  assert.equal(state.snapshot?.['snapshot-id'], id);
  assert.deepEqual([...(await liveFiles(io.store, state)).keys()].sort(), [first.path, mine.path].sort());
  assert.equal(summaryValue(state, 'varve.offsets'), '{"0":"2"}');
  // What the catalog has forgotten with the older snapshot is still in the properties.
  const paused = await commit(io, state, { properties: { 'varve.paused': 'now' } });
  assert.equal(summaryValue(paused, 'varve.offsets'), '{"0":"2"}');
  const next = await commit(io, paused, append([fileOf(base)], { 'varve.offsets': '{"0":"3"}' }));
  assert.equal(summaryValue(next, 'varve.offsets'), '{"0":"3"}');
  assert.equal((await paths(direct, at)).length, 3);
});

test('an answer is lost, and another sink commits on top: nothing is deleted', async () => {
  const { at, direct, base, first, io } = await setTable();
  const [mine, theirs] = [fileOf(base), fileOf(base)];
  afterLost(async () => commit(direct, await load(direct, at), append([theirs])));
  // This catalog tells of no snapshot but the newest.
  await assert.rejects(commit(io, base, append([mine])), failsAs('catalog_unreachable'));
  assert.deepEqual(await paths(direct, at), [first.path, mine.path, theirs.path].sort());
});

test('a commit gets lost, and another one is made: a conflict, and it is done again', async () => {
  const { at, direct, base, first, io } = await setTable();
  const [mine, theirs] = [fileOf(base), fileOf(base)];
  place.proxy.plan = async (call) => {
    if (!isCommit(call)) return null;
    place.proxy.plan = () => null;
    await commit(direct, base, append([theirs]));
    return { kind: 'cut', done: false };
  };
  await assert.rejects(commit(io, base, append([mine])), failsAs('commit_conflict'));
  await commit(io, await load(io, at), append([mine]));
  assert.deepEqual(await paths(direct, at), [first.path, mine.path, theirs.path].sort());
});

test('a slow catalog is waited for', async () => {
  const { at, direct, base, io } = await setTable();
  place.proxy.plan = async (call) => {
    await sleep(isCommit(call) ? 700 : 100);
    return null;
  };
  await commit(io, base, append([fileOf(base)]));
  assert.equal((await paths(direct, at)).length, 2);
});

test('a catalog that is away is named; what was committed stands', async () => {
  const { at, direct, base, first, io } = await setTable();
  await load(io, at);
  place.proxy.plan = () => ({ kind: 'cut', done: false });
  await assert.rejects(commit(io, base, append([fileOf(base)])), (thrown) => {
    failsAs('catalog_unreachable')(thrown);
    assert.match((thrown as Error).message, /public\.t\d+.*127\.0\.0\.1/s);
    return true;
  });
  await assert.rejects(loadTable(io, at), failsAs('catalog_unreachable'));
  assert.deepEqual(await paths(direct, at), [first.path]);
  place.proxy.plan = () => null;
  await commit(io, await load(io, at), append([fileOf(base)]));
  assert.equal((await paths(direct, at)).length, 2);
});

test('a commit that the catalog will not have is said in its words, and is not repeated', async () => {
  const { base, io } = await setTable();
  inTurn(isCommit, [answer(400, 'BadRequestException', false)]);
  const before = place.proxy.calls.filter(isCommit).length;
  await assert.rejects(commit(io, base, append([fileOf(base)])), (thrown) => {
    failsAs('protocol_error')(thrown);
    return /BadRequestException, made by a test/.test((thrown as Error).message);
  });
  assert.equal(place.proxy.calls.filter(isCommit).length, before + 1);
});

test('in a storm every commit is in the table once, or not at all where it failed', async (context) => {
  const { at, direct, base } = await setTable();
  const random = seededRandom((text) => context.diagnostic(text));
  const conflict = answer(409, 'CommitFailedException', false);
  const faults: readonly S3Fault[] = [
    { kind: 'cut', done: true },
    { kind: 'cut', done: false },
    answer(500, 'InternalServerError', true),
    answer(503, 'SlowDown', false),
    conflict,
    { kind: 'half' },
  ];
  place.proxy.plan = ({ method }) => {
    // A conflict is the answer to a commit only.
    const some = method === 'POST' ? faults : faults.filter((fault) => fault !== conflict);
    return random() < 0.3 ? (some[Math.floor(random() * some.length)] ?? null) : null;
  };
  const wanted = Array.from({ length: atLevel({ test: 10, all: 20, deep: 300 }) }, () => fileOf(base));
  const write = async (io: TableIo, mine: readonly (typeof wanted)[number][]): Promise<void> => {
    for (const file of mine)
      for (;;) {
        const state = await load(direct, at);
        if ((await liveFiles(direct.store, state)).has(file.path)) break;
        await commit(io, state, append([file])).catch((thrown: unknown) => {
          if (!/first/.test(String(thrown))) failsAs('catalog_unreachable')(thrown);
          else failsAs('commit_conflict')(thrown);
        });
      }
  };
  const half = wanted.length >> 1;
  const writers = [place.writer(place.proxyUri), place.writer(place.proxyUri)] as const;
  await Promise.all([write(writers[0], wanted.slice(0, half)), write(writers[1], wanted.slice(half))]);
  place.proxy.plan = () => null;
  const read = await load(direct, at);
  assert.equal((await paths(direct, at)).length, wanted.length + 1);
  assert.equal(read.metadata['last-sequence-number'], wanted.length + 1);
  assert.equal(read.snapshot?.summary['total-data-files'], String(wanted.length + 1));
});

test('files of a catalog that keeps a history of its own are left to it', async () => {
  const { at, direct } = await setTable();
  const state = await load(direct, at);
  assert.equal(state.properties['gc.enabled'], 'false');
  await direct.store.write(`${state.location}/data/orphan.parquet`, Buffer.from('x'));
  const later: TableIo = { ...direct, now: () => Date.now() + 30 * 86_400_000 };
  assert.deepEqual(await sweepOrphans(later, state, { minAgeMs: 3 * 86_400_000, dryRun: false }), []);
  const free = { ...state, properties: {} };
  const doomed = await sweepOrphans(later, free, { minAgeMs: 3 * 86_400_000, dryRun: true });
  assert.deepEqual(
    doomed.map(({ uri }) => uri),
    [`${state.location}/data/orphan.parquet`],
  );
});
