// The checker must be able to fail: a lost record, two that changed places, a confirmation that came too
// early and a commit that happened twice are planted one by one, and each is caught, by the oracle or by
// Varve itself.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { VarveError } from '../../src/errors.ts';
import { commit } from '../../src/sinks/parquet/iceberg/commit.ts';
import { readLedger } from '../support/ledger-table.ts';
import { askOracle, compareWithOracle, installOracle } from '../support/oracle.ts';
import {
  type Event,
  isRow,
  overriding,
  rewrittenLog,
  runInProcess,
  withLog,
} from '../support/pipeline-in-process.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readTable } from '../support/table-rows.ts';
import { makePipeline, type TestPipeline } from '../support/varve.ts';

const UNTIL = ['run', 'pipeline.yaml', '--until-caught-up'];

let server: TestPostgres;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

type Client = Awaited<ReturnType<TestPostgres['connect']>>;
type Stage = { client: Client; pipeline: TestPipeline; tables: string; check(): Promise<void> };

/** The oracle's table, new and snapshotted; then two changes of each of two rows wait to be read. */
const onStage = async (name: string, play: (stage: Stage) => Promise<void>): Promise<void> => {
  const client = await server.connect();
  await client.query('drop schema if exists oracle cascade; drop table if exists ledger');
  await installOracle(client);
  await client.query("insert into ledger (id, n, name) values (1, 10, 'one'), (2, 20, 'two')");
  await using pipeline = await makePipeline({ url: server.url, name });
  await pipeline.run(UNTIL);
  const changes = [
    'n = 11 where id = 1',
    'n = 21 where id = 2',
    'n = 12 where id = 1',
    'n = 22 where id = 2',
  ];
  for (const change of changes) await client.query(`update ledger set ${change}`);
  const tables = join(pipeline.directory, 'tables');
  const check = async (): Promise<void> =>
    compareWithOracle(await askOracle(client), await readLedger(tables), { since: 0n });
  await play({ client, pipeline, tables, check });
};

const rewriteLog = (pipeline: TestPipeline, rewrite: (events: Event[]) => Event[]): Promise<void> =>
  runInProcess(pipeline.file, (parts) => ({
    source: withLog(parts, (reader) => rewrittenLog(reader, rewrite)),
  }));

test('without a fault the same way of running passes', () =>
  onStage('sound', async ({ pipeline, check }) => {
    let rows = 0;
    await rewriteLog(pipeline, (events) => {
      rows += events.filter(isRow).length;
      return events;
    });
    assert.equal(rows, 4, 'the changes did not come in one piece');
    await check();
  }));

test('a record that was dropped is missed, be it a last one or one in the middle', () =>
  onStage('dropped', async ({ client, pipeline, check }) => {
    await rewriteLog(pipeline, (events) => events.filter((event) => event !== events.filter(isRow)[2]));
    await assert.rejects(check, /key 1: the current row differs/);
    await client.query('update ledger set n = 13 where id = 1');
    await pipeline.run(UNTIL);
    await assert.rejects(check, /key 1:\nexpected/);
  }));

test('two changes of one row that changed places are seen', () =>
  onStage('swapped', async ({ pipeline, check }) => {
    await rewriteLog(pipeline, (events) => {
      const [first, , second] = events.filter(isRow);
      const other = new Map<Event | undefined, Event | undefined>([
        [first, second],
        [second, first],
      ]);
      return events.map((event) => other.get(event) ?? event);
    });
    await assert.rejects(check, /key 1: the current row differs/);
  }));

test('what was confirmed before it was durable is named as a gap, and a new snapshot mends it', () =>
  onStage('early', async ({ client, pipeline, check }) => {
    const confirmed = async (): Promise<string> => {
      const { rows } = await client.query(
        'select confirmed_flush_lsn::text as at from pg_replication_slots where slot_name = $1',
        ['varve_early'],
      );
      return rows[0].at;
    };
    const before = await confirmed();
    const early = runInProcess(pipeline.file, (parts) => ({
      source: withLog(parts, (reader) =>
        rewrittenLog(reader, (events) => {
          for (const event of events) if (event.kind === 'commit') reader.confirm(event.resume);
          return events;
        }),
      ),
      publisher: overriding(parts.publisher, {
        write: async (write) => {
          if (write.slices.length === 0) return parts.publisher.write(write);
          while ((await confirmed()) === before) await sleep(20);
          throw new VarveError('disk_failed', 'killed before it was durable');
        },
      }),
    }));
    await assert.rejects(early, /killed before/);
    const refused = await pipeline.run(UNTIL, 1);
    assert.match(refused.stderr, /history_gap/);
    assert.match(refused.stderr, /varve snapshot FILE --all/);
    await pipeline.run(['snapshot', 'pipeline.yaml', '--all']);
    await pipeline.run(UNTIL);
    await assert.rejects(check, /key 1:\nexpected/, 'the hole in the history is seen by the oracle too');
  }));

test('records that are folded once more change nothing; rows that are there twice are seen', () =>
  onStage('again', async ({ pipeline, tables, check }) => {
    await pipeline.run(UNTIL);
    const { state, io, rows } = await readTable(tables, 'ledger');
    await commit(io, state, {
      snapshot: {
        id: 4711n,
        operation: 'append',
        add: [],
        remove: [],
        summary: { 'varve.offsets': '{"0":"0"}' },
      },
    });
    const { stdout } = await pipeline.run([...UNTIL, '--json']);
    assert.equal((JSON.parse(stdout) as { folded: number }).folded, 6, 'everything was read again');
    const after = await readTable(tables, 'ledger');
    assert.deepEqual(after.rows, rows);
    await check();
    const file = after.files.find(({ content, partition }) => content === 'data' && partition[0] === true);
    assert.ok(file);
    const path = file.path.replace('.parquet', '-copy.parquet');
    await io.store.createExclusive(path, (await io.store.read(file.path)) as Uint8Array);
    await commit(io, after.state, {
      snapshot: { id: 4712n, operation: 'append', add: [{ ...file, path }], remove: [], summary: {} },
    });
    await assert.rejects(check, /has 2 current rows, not one/);
  }));
