// Real Kafka brokers for tests: one, or a cluster of three, on free ports of this machine, and gone when the
// test process is gone, however it ends. Knows nothing of Varve.
import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ran } from './components.ts';
import { type JavaProcess, startWatchdog } from './java-process.ts';
import {
  brokerProcess,
  ensureKafka,
  KAFKA_USERS,
  KAFKA_VERSION,
  kafkaFlags,
  pickNodes,
  writeProperties,
} from './kafka-install.ts';
import { type KafkaSecurity, type KafkaTls, type Secured, secure } from './kafka-security.ts';
import { type NodePorts, nodeSettings } from './kafka-settings.ts';

/** Nodes count from 1; without a node a call means all of them. */
export type Broker = {
  /** `host:port` of each node, in the order of their ids. */
  readonly brokers: readonly string[];
  readonly version: string;
  /** As by kill -9. */
  kill(node?: number): Promise<void>;
  /** Clean; the data stays. */
  stop(node?: number): Promise<void>;
  /** Starts what is down again, on the same ports and data. */
  restart(node?: number): Promise<void>;
  /** Freezes the process: its connections stay open and say nothing. */
  pause(node?: number): void;
  resume(node?: number): void;
  /** The last lines of the nodes' logs. */
  logTail(): Promise<string>;
  /** Of the processes that run. */
  pids(): readonly number[];
  [Symbol.asyncDispose](): Promise<void>;
};

/** `tls` is what a client needs, as PEM text; the client certificate is there with mTLS only. */
export type SecureBroker = Broker & {
  readonly tls: KafkaTls | null;
  /** The first one is `varve`, the second `guest`; of PLAIN and SCRAM. */
  readonly users: typeof KAFKA_USERS;
  /** A signed OAUTHBEARER token for that subject; one that has expired for a negative time. */
  token(subject: string, lifeS?: number): string;
};

type KafkaOptions = {
  readonly brokers?: 1 | 3;
  readonly security?: KafkaSecurity;
  /** Broker settings, on top of `nodeSettings`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Starts slower and is faster after some ten seconds; for benches. */
  readonly isLongRunning?: boolean;
};

/** Starts a cluster of its own (1.5 s for one plain broker; installs Kafka when it is missing). */
export const startKafka = async (options: KafkaOptions = {}): Promise<SecureBroker> => {
  const { template, archive, ...code } = await ensureKafka();
  const root = await mkdtemp(join(tmpdir(), 'varve-kafka-'));
  const watchdog = startWatchdog(root);
  try {
    const secured = await secure(root, options.security);
    const flags = [...kafkaFlags(archive, options.isLongRunning ?? false), ...secured.flags];
    const folders = Array.from({ length: options.brokers ?? 1 }, (_, at) => join(root, `node-${at + 1}`));
    const clusterId = kafkaId();
    for (const [at, folder] of folders.entries()) await fillData(template, folder, { at, clusterId });
    const processes = folders.map((folder) => brokerProcess(folder, code, flags));
    const settings = { ...secured.settings, ...options.settings };
    const ports = await startOnFreePorts(folders, processes, settings);
    return new Cluster({ processes, ports, secured, endWatchdog: () => watchdog.end() });
  } catch (error) {
    await watchdog.end();
    throw error;
  }
};

let shared: Promise<Broker> | undefined;

/** One plain broker for all tests of this process; topics get fresh names. It ends with the process. */
export const sharedKafka = (): Promise<Broker> => {
  shared ??= startKafka();
  return shared;
};

/** 16 random bytes in Kafka's writing, which must not look like an option. */
const kafkaId = (): string => {
  const id = randomBytes(16).toString('base64url');
  return id.startsWith('-') ? kafkaId() : id;
};

type NodeIdentity = { readonly at: number; readonly clusterId: string };

/** The template is node 1 of one cluster; a copy gets an identity of its own. */
const fillData = async (template: string, folder: string, { at, clusterId }: NodeIdentity): Promise<void> => {
  const data = join(folder, 'data');
  await cp(template, data, { recursive: true });
  const meta = { version: 1, 'node.id': at + 1, 'cluster.id': clusterId, 'directory.id': kafkaId() };
  const lines = Object.entries(meta).map(([key, value]) => `${key}=${value}\n`);
  await writeFile(join(data, 'meta.properties'), lines.join(''));
};

const startOnFreePorts = async (
  folders: readonly string[],
  processes: readonly JavaProcess[],
  settings: Readonly<Record<string, string>>,
): Promise<readonly NodePorts[]> => {
  for (let attempt = 1; ; attempt++) {
    const ports = await pickNodes(folders.length);
    for (const [at, folder] of folders.entries()) {
      await writeProperties(folder, { ...nodeSettings(ports, at), ...settings });
    }
    const starts = await Promise.allSettled(processes.map((process) => process.start()));
    const failed = starts.find((start) => start.status === 'rejected');
    if (!failed) return ports;
    for (const process of processes) await process.end('SIGKILL');
    // Another test may take a port between the pick and the bind.
    if (attempt === 3 || !/Address already in use/.test(String(failed.reason))) throw failed.reason;
  }
};

type ClusterParts = {
  readonly processes: readonly JavaProcess[];
  readonly ports: readonly NodePorts[];
  readonly secured: Secured;
  readonly endWatchdog: () => Promise<void>;
};

class Cluster implements SecureBroker {
  readonly version = KAFKA_VERSION;
  readonly users = KAFKA_USERS;
  readonly tls: KafkaTls | null;
  readonly token: SecureBroker['token'];
  readonly #brokers: readonly string[];
  readonly #processes: readonly JavaProcess[];
  readonly #endWatchdog: () => Promise<void>;

  constructor({ processes, ports, secured, endWatchdog }: ClusterParts) {
    this.#brokers = ports.map(({ client }) => `127.0.0.1:${client}`);
    this.#processes = processes;
    this.#endWatchdog = endWatchdog;
    this.tls = secured.tls;
    this.token = secured.token;
  }

  get brokers(): readonly string[] {
    ran('kafka', this.version);
    return this.#brokers;
  }

  async kill(node?: number): Promise<void> {
    await Promise.all(this.#of(node).map((process) => process.end('SIGKILL')));
  }

  async stop(node?: number): Promise<void> {
    await Promise.all(this.#of(node).map((process) => process.end('SIGTERM')));
  }

  async restart(node?: number): Promise<void> {
    await Promise.all(this.#of(node).map((process) => process.start()));
  }

  pause(node?: number): void {
    for (const process of this.#of(node)) process.signal('SIGSTOP');
  }

  resume(node?: number): void {
    for (const process of this.#of(node)) process.signal('SIGCONT');
  }

  async logTail(): Promise<string> {
    const tails = await Promise.all(this.#processes.map((process) => process.logTail()));
    return tails.map((tail, at) => `node ${at + 1}:\n${tail}`).join('\n');
  }

  pids(): readonly number[] {
    return this.#processes.flatMap(({ pid }) => pid ?? []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#endWatchdog();
  }

  #of(node: number | undefined): readonly JavaProcess[] {
    if (node === undefined) return this.#processes;
    const process = this.#processes[node - 1];
    if (process === undefined) throw new RangeError(`no node ${node} of ${this.#processes.length}`);
    return [process];
  }
}
