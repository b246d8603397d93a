// Owns one flow over Kafka from end to end: a database of its own with its audit, load on it, a pipeline, and
// the comparison of topics and table with what was committed. Knows no fault.
import assert from 'node:assert/strict';
import pg from 'pg';
import { kafkaTopic } from './kafka-stage.ts';
import { checkFolded, checkPublished } from './kafka-whole.ts';
import { until } from './polling.ts';
import type { TestPostgres } from './postgres.ts';
import { RUN, type Stage, setStage, statusOf, UNTIL } from './stage.ts';
import type { TopicRules } from './topic-check.ts';
import { installTopicOracle, runMixed, sourceMoment } from './topic-oracle.ts';
import type { TopicRecord } from './topic-rows.ts';
import type { Running } from './varve.ts';
import { runWorkload } from './workload.ts';

type FlowOptions = {
  readonly brokers: readonly string[];
  readonly registry: string;
  /** YAML of the `topic:` block, a line each. */
  readonly more?: readonly string[];
  readonly seed?: number;
};

/** `holes`: a start was interrupted, so that the table has the snapshots of several epochs. */
type WholeRules = Partial<TopicRules> & { readonly holes?: boolean };

type Load = { readonly stop: AbortController; readonly done: Promise<unknown> };

type Clients = { all: pg.Client[]; admin: pg.Client; mixing: pg.Client; sessions: pg.Client[] };

const connectAll = async (url: string): Promise<Clients> => {
  const all = Array.from({ length: 4 }, () => new pg.Client({ connectionString: url }));
  // They end with the server, whenever that is.
  for (const client of all) client.on('error', () => undefined);
  await Promise.all(all.map((client) => client.connect()));
  const [admin, mixing, ...sessions] = all;
  assert.ok(admin && mixing);
  return { all, admin, mixing, sessions };
};

export class KafkaFlow implements Stage {
  readonly url: Stage['url'];
  readonly name: Stage['name'];
  readonly slot: Stage['slot'];
  readonly pipeline: Stage['pipeline'];
  readonly tables: Stage['tables'];
  readonly sql: Stage['sql'];
  readonly #stage: Stage;
  readonly #options: FlowOptions;
  readonly #clients: Clients;
  readonly #loads: Load[] = [];
  #round: number;
  #since = 0n;

  private constructor(stage: Stage, options: FlowOptions, clients: Clients) {
    this.url = stage.url;
    this.name = stage.name;
    this.slot = stage.slot;
    this.pipeline = stage.pipeline;
    this.tables = stage.tables;
    this.sql = stage.sql;
    this.#stage = stage;
    this.#options = options;
    this.#clients = clients;
    this.#round = (options.seed ?? 1) * 1000;
  }

  /** Tables with some rows; nothing was started. */
  static async set(server: TestPostgres, options: FlowOptions): Promise<KafkaFlow> {
    const { brokers, registry, more = [] } = options;
    const topic = kafkaTopic({ brokers, registry }, more);
    const stage = await setStage(server, { schema: 'select 1', topic });
    const clients = await connectAll(stage.url);
    await installTopicOracle(clients.admin);
    const flow = new KafkaFlow(stage, options, clients);
    await runWorkload(clients.sessions, flow.#workload(), 30);
    await runMixed(clients.mixing, flow.#round++, 30);
    return flow;
  }

  #workload() {
    return { seed: this.#round++, keys: 60, truncates: true, keyChanges: true, pauseMs: 10 };
  }

  /** Changes all three tables, or the ledger alone, until it is stopped. */
  startLoad(tables: 'all' | 'ledger' = 'all'): { stop(): Promise<void> } {
    const stop = new AbortController();
    const { sessions, mixing } = this.#clients;
    const done = Promise.all([
      runWorkload(sessions, this.#workload(), stop.signal),
      tables === 'all' ? runMixed(mixing, this.#round++, stop.signal) : undefined,
    ]);
    // Whoever stops it is told.
    done.catch(() => undefined);
    this.#loads.push({ stop, done });
    return {
      stop: async () => {
        stop.abort();
        await done;
      },
    };
  }

  /** Caught up with all that is there, its seam noted, and streaming again. */
  async stream(): Promise<Running> {
    await this.pipeline.run(UNTIL);
    await this.noteSeam();
    const running = this.pipeline.start(RUN);
    await running.saw(/"msg":"streaming"/);
    return running;
  }

  /** What the source was told to be done, as its position; null before that. */
  async confirmed(): Promise<string | null> {
    const { rows } = await this.#clients.admin.query(
      'select confirmed_flush_lsn::text as at from pg_replication_slots where slot_name = $1',
      [this.slot],
    );
    return rows[0]?.at ?? null;
  }

  /** Resolves when a change that is made now is behind the checkpoint, while `running` runs. */
  async movesOn(running: Running): Promise<void> {
    const { resume } = await statusOf(this.pipeline);
    await this.sql("insert into notes values (0, 'moves on')");
    await until(async () => {
      assert.equal(running.child.exitCode, null, 'it ended by itself');
      return (await statusOf(this.pipeline)).resume !== resume;
    });
  }

  /** What comes later is streamed, by no snapshot. */
  async noteSeam(): Promise<void> {
    this.#since = await sourceMoment(this.#clients.admin);
  }

  /** Runs until caught up; then topics and table are what the source's audit says. Gives the records. */
  async assertWhole({ holes = false, ...rules }: WholeRules = {}): Promise<readonly TopicRecord[]> {
    const { brokers, registry } = this.#options;
    const { admin } = this.#clients;
    const since = this.#since;
    await this.pipeline.run(UNTIL);
    const published = { brokers, registry, prefix: this.name };
    const records = await checkPublished(admin, published, { since, ...rules });
    await checkFolded(admin, this.tables, { since, holes });
    return records;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stage[Symbol.asyncDispose]();
    for (const { stop, done } of this.#loads) {
      stop.abort();
      await done.catch(() => undefined);
    }
    for (const client of this.#clients.all) await client.end();
  }
}
