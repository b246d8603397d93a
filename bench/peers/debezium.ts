// Owns running Debezium beside Varve: one Kafka Connect worker with its PostgreSQL connector, from a slot to
// Kafka, and what that cost. Knows no bench.
import { mkdir, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { JavaProcess, startWatchdog } from '../../test/support/java-process.ts';
import { pickPort } from '../../test/support/postgres-process.ts';
import type { Address } from '../database.ts';
import { measureProcess } from '../measure.ts';
import { ensureDebezium } from './debezium-install.ts';

type DebeziumRequest = {
  /** By TCP: the connector knows no socket. */
  readonly database: Address;
  readonly slot: string;
  readonly publication: string;
  /** `schema.table` */
  readonly table: string;
  /** Of the topics; the connector's name as well. */
  readonly prefix: string;
  readonly brokers: readonly string[];
  /** URL of an Apicurio registry, any path: Avro. Null: JSON with schemas. */
  readonly registry: string | null;
  /** `no_data` drains the slot, `initial` copies the table first. */
  readonly snapshot: 'no_data' | 'initial';
  /** Absent: Debezium's defaults, which drain fastest. */
  readonly tunedFor?: 'latency';
};

/** What Debezium is tuned to when latency matters: a tenth of what it is by default. */
const LOW_LATENCY: Readonly<Record<string, string>> = {
  'max.batch.size': '8192',
  'max.queue.size': '32768',
  'poll.interval.ms': '10',
  'snapshot.fetch.size': '10240',
  'producer.override.linger.ms': '5',
  'producer.override.batch.size': '131072',
  'producer.override.compression.type': 'lz4',
  'producer.override.buffer.memory': '33554432',
};

/** Of the worker; CPU and seconds from the first record on, so without its start. */
type DebeziumCost = {
  readonly records: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMb: number;
};

const HEAP = '2g';
const POLL_MS = 50;
const STATUS_POLLS = 20;

const worker = (request: DebeziumRequest, plugins: string, rest: number): Record<string, string> => ({
  'bootstrap.servers': request.brokers.join(','),
  listeners: `http://127.0.0.1:${rest}`,
  'offset.storage.file.filename': join(plugins, '../offsets'),
  'plugin.path': plugins,
  // The converter has no service manifest, so the quicker ways do not see it.
  'plugin.discovery': 'hybrid_warn',
  'connector.client.config.override.policy': 'All',
  'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
  'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
});

const connector = (request: DebeziumRequest): Record<string, string> => {
  const { database, registry } = request;
  return {
    name: request.prefix,
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': database.host,
    'database.port': String(database.port),
    'database.user': database.user,
    'database.password': database.password,
    'database.dbname': database.database,
    'plugin.name': 'pgoutput',
    'slot.name': request.slot,
    'publication.name': request.publication,
    'publication.autocreate.mode': 'disabled',
    'table.include.list': request.table,
    'topic.prefix': request.prefix,
    'snapshot.mode': request.snapshot,
    'topic.creation.default.partitions': '1',
    'topic.creation.default.replication.factor': '-1',
    ...(registry === null ? {} : { ...avro('key', registry), ...avro('value', registry) }),
    ...(request.tunedFor === 'latency' ? LOW_LATENCY : {}),
  };
};

const avro = (part: 'key' | 'value', registry: string): Record<string, string> => ({
  [`${part}.converter`]: 'io.apicurio.registry.utils.converter.AvroConverter',
  [`${part}.converter.apicurio.registry.url`]: new URL('/apis/registry/v2', registry).href,
  [`${part}.converter.apicurio.registry.auto-register`]: 'true',
  [`${part}.converter.apicurio.registry.find-latest`]: 'false',
  [`${part}.converter.apicurio.registry.headers.enabled`]: 'false',
});

const writeProperties = async (path: string, settings: Readonly<Record<string, string>>): Promise<string> => {
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value.replaceAll('\\', '\\\\')}\n`);
  await writeFile(path, lines.join(''), { mode: 0o600 });
  return path;
};

/** Starts the worker (10-45 s: it scans its plugins) and resolves when the connector has been given to it. */
export const startDebezium = async (request: DebeziumRequest): Promise<Debezium> => {
  const { java, classPath, plugins } = await ensureDebezium();
  const root = await mkdtemp(join(tmpdir(), 'varve-debezium-'));
  const watchdog = startWatchdog(root);
  const folder = join(root, 'worker');
  const pluginFolder = join(folder, 'plugins');
  await mkdir(pluginFolder, { recursive: true });
  for (const [name, path] of Object.entries(plugins)) await symlink(path, join(pluginFolder, name));
  const rest = await pickPort();
  const files = [
    await writeProperties(join(folder, 'worker.properties'), worker(request, pluginFolder, rest)),
    await writeProperties(join(folder, 'connector.properties'), connector(request)),
  ];
  const main = ['-cp', classPath, 'org.apache.kafka.connect.cli.ConnectStandalone', ...files];
  const process = new JavaProcess(folder, {
    name: 'Kafka Connect',
    java,
    args: ['-Xms256m', `-Xmx${HEAP}`, '-XX:+UseG1GC', ...main],
    started: 'Created connector',
  });
  try {
    await process.start();
  } catch (error) {
    await watchdog.end();
    throw error;
  }
  return new Debezium(process, { request, rest, endWatchdog: () => watchdog.end() });
};

type DebeziumParts = {
  readonly request: DebeziumRequest;
  readonly rest: number;
  readonly endWatchdog: () => Promise<void>;
};

class Debezium implements AsyncDisposable {
  readonly #process: JavaProcess;
  readonly #parts: DebeziumParts;
  readonly #cpuSeconds: () => number;
  #first: { records: number; atMs: number; cpuSeconds: number } | null = null;
  #last = { records: 0, atMs: 0 };

  constructor(process: JavaProcess, parts: DebeziumParts) {
    this.#process = process;
    this.#parts = parts;
    this.#cpuSeconds = measureProcess(process.pid ?? 0);
  }

  /** Resolves when the table's topic holds so many records; rejects when the connector has failed. */
  async waitFor(records: number): Promise<void> {
    const { prefix, table, brokers } = this.#parts.request;
    const logLevel = kafkajs.logLevel.NOTHING;
    const admin = new kafkajs.Kafka({ clientId: 'bench', brokers: [...brokers], logLevel }).admin();
    await admin.connect();
    try {
      for (let poll = 1; this.#last.records < records; poll++) {
        await sleep(POLL_MS);
        if (poll % STATUS_POLLS === 0) await this.#expectRunning();
        this.#note(await countRecords(admin, `${prefix}.${table}`));
      }
    } finally {
      await admin.disconnect();
    }
  }

  /** What the worker has cost between the first record and the last that `waitFor` saw. */
  async usage(): Promise<DebeziumCost> {
    const [first, last] = [this.#first, this.#last];
    if (first === null) throw new Error('Debezium has written no record yet: it has no rate.');
    const status = await readFile(`/proc/${this.#process.pid}/status`, 'latin1');
    return {
      records: last.records - first.records,
      seconds: (last.atMs - first.atMs) / 1000,
      cpuSeconds: this.#cpuSeconds() - first.cpuSeconds,
      peakMb: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024,
    };
  }

  /** Clean: the slot is confirmed up to what was written. */
  async stop(): Promise<void> {
    await this.#process.end('SIGTERM');
    await this.#parts.endWatchdog();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.end('SIGKILL');
    await this.#parts.endWatchdog();
  }

  #note(records: number): void {
    if (records === 0) return;
    const atMs = performance.now();
    this.#first ??= { records, atMs, cpuSeconds: this.#cpuSeconds() };
    this.#last = { records, atMs };
  }

  async #expectRunning(): Promise<void> {
    const url = `http://127.0.0.1:${this.#parts.rest}/connectors/${this.#parts.request.prefix}/status`;
    const answer = await fetch(url).catch(() => null);
    const text = (await answer?.text()) ?? '';
    if (this.#process.pid !== undefined && !text.includes('"FAILED"')) return;
    throw new Error(`Debezium has failed: ${text}\n${await this.#process.logTail()}`);
  }
}

/** 0 for a topic that does not exist yet. */
const countRecords = async (admin: kafkajs.Admin, topic: string): Promise<number> => {
  const offsets = await admin.fetchTopicOffsets(topic).catch(() => []);
  return offsets.reduce((sum, { high }) => sum + Number(high), 0);
};
