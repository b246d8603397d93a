// Owns a pipeline that several workers run: load on the oracle's table, counters whose every version is
// known, and what it means that all of it is folded once. Knows no fault.
import assert from 'node:assert/strict';
import pg from 'pg';
import { readLedger } from './ledger-table.ts';
import { askOracle, auditMoment, compareWithOracle, installOracle } from './oracle.ts';
import { until } from './polling.ts';
import type { TestPostgres } from './postgres.ts';
import { RUN, type Stage, setStage, UNTIL } from './stage.ts';
import { readTable } from './table-rows.ts';
import type { Running } from './varve.ts';
import { runWorkload } from './workload.ts';

const REPAIR = ['resume', 'pipeline.yaml', '--abort-hanging'];
const COUNTERS = ['c1', 'c2', 'c3', 'c4', 'c5'];
const SCHEMA = COUNTERS.map(
  (name) => `create table ${name} (id int primary key, v int); insert into ${name} values (1, 0), (2, 0);`,
).join('\n');

/** Who captured and has been replaced ends, for whoever supervises it to start it again. */
const REPLACED = /"kind":"fenced"/;

/** Whoever finds it ends: only a broker that was killed leaves it behind, and an operator takes it back. */
const HANGING = /"kind":"hanging_transaction"/;

export class WorkerStage {
  readonly #stage: Stage;
  readonly #client: pg.Client;
  #failed: string[] = [];
  readonly #over = new AbortController();
  #load: Promise<unknown> = Promise.resolve();
  #since = 0n;
  #counted = 0;

  private constructor(stage: Stage, client: pg.Client) {
    this.#stage = stage;
    this.#client = client;
  }

  static async set(server: TestPostgres, topic: string): Promise<WorkerStage> {
    const stage = await setStage(server, { schema: SCHEMA, topic });
    const client = new pg.Client({ connectionString: stage.url });
    await client.connect();
    await installOracle(client);
    return new WorkerStage(stage, client);
  }

  start(): Running {
    const worker = this.#stage.pipeline.start(RUN);
    void worker.finished.then(({ code, stderr }) => {
      if (code !== 0 && code !== null) this.#failed.push(stderr.slice(-3000));
    });
    return worker;
  }

  /** As an operator does; it must be well, unless another one has taken its place, or brokers were killed. */
  async end(worker: Running): Promise<void> {
    if (worker.child.exitCode !== null) {
      const { stderr } = await worker.finished;
      assert.ok(REPLACED.test(stderr) || HANGING.test(stderr), stderr);
      return;
    }
    worker.kill('SIGTERM');
    const { code, stderr } = await worker.finished;
    assert.equal(code, 0, stderr.slice(-3000));
  }

  /** To be called once all tables were read; keys that come later are known whole. */
  async startLoad(seed: number): Promise<void> {
    this.#since = await auditMoment(this.#client);
    const options = { seed, keys: 40, truncates: true, keyChanges: true, pauseMs: 20 };
    this.#load = runWorkload([this.#client], options, this.#over.signal);
  }

  async stopLoad(): Promise<void> {
    this.#over.abort();
    await this.#load;
  }

  /** One more version of every row of the counters. */
  async count(): Promise<number> {
    const next = this.#counted + 1;
    await this.#stage.sql(COUNTERS.map((name) => `update ${name} set v = ${next}`).join(';'));
    this.#counted = next;
    return next;
  }

  /** Until every counter's table has come to this version. */
  async sees(version: number): Promise<void> {
    await until(async () => {
      const failed = this.#failed.filter((stderr) => !REPLACED.test(stderr));
      assert.deepEqual(failed, [], 'a worker failed');
      return this.#shows(version);
    });
  }

  async #shows(version: number): Promise<boolean> {
    for (const name of COUNTERS) {
      const { rows } = await readTable(this.#stage.tables, name).catch(() => ({ rows: [] }));
      if (!rows.some(({ v }) => Number(v) >= version)) return false;
    }
    return true;
  }

  async goesOn(): Promise<void> {
    await this.sees(await this.count());
  }

  /**
   * As `goesOn`, after brokers were killed: what hangs is taken back, and new workers come, which it gives.
   */
  async recovers(): Promise<Running[]> {
    const version = await this.count();
    const started: Running[] = [];
    await until(async () => {
      const isHanging = this.#failed.some((stderr) => HANGING.test(stderr));
      this.#failed = this.#failed.filter((stderr) => !HANGING.test(stderr));
      if (isHanging) {
        const { code, stderr } = await this.#stage.pipeline.start(REPAIR).finished;
        // Each of them may have found the same one.
        assert.ok(code === 0 || /No transaction hangs/.test(stderr), stderr);
        started.push(this.start());
      }
      return this.#shows(version);
    });
    await this.sees(version);
    return started;
  }

  /** Every version of everything, once. */
  async assertWhole(): Promise<void> {
    const { pipeline, tables } = this.#stage;
    await pipeline.run(UNTIL);
    const expected = Array.from({ length: this.#counted + 1 }, (_, at) => at);
    for (const name of COUNTERS) {
      const { rows } = await readTable(tables, name);
      for (const id of ['1', '2']) {
        const versions = rows.filter((row) => String(row.id) === id).map(({ v }) => Number(v));
        assert.deepEqual(versions, expected, name);
      }
    }
    compareWithOracle(await askOracle(this.#client), await readLedger(tables), { since: this.#since });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopLoad();
    await this.#client.end();
    await this.#stage[Symbol.asyncDispose]();
  }
}
