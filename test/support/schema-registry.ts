// A real schema registry for tests, Apicurio's, which speaks Confluent's API; gone when the test process is
// gone. Its schemas lie in a file, so it comes back from a stop or a kill with the same ids. Knows no schema.
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ran } from './components.ts';
import { JavaProcess, startWatchdog } from './java-process.ts';
import { makeOnce } from './make-once.ts';
import { cacheFolder, ensureArchive, findJava } from './maven.ts';
import { pickPort } from './postgres-process.ts';

const VERSION = '3.3.3';
/** Its class files are of Java 21. */
const JAVA_MAJOR = 21;

type TestRegistry = {
  /** Of Confluent's API. */
  readonly url: string;
  readonly port: number;
  readonly version: string;
  /** As by kill -9. */
  kill(): Promise<void>;
  /** Clean. */
  stop(): Promise<void>;
  /** Starts it again, on the same port and schemas. */
  restart(): Promise<void>;
  /** Freezes the process: its connections stay open and say nothing. */
  pause(): void;
  resume(): void;
  pids(): readonly number[];
  logTail(): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

type RegistryInstallation = {
  readonly java: string;
  /** Of the program. */
  readonly folder: string;
  /** Class archive of that Java. */
  readonly archive: string;
};

/** Installs the registry (10 s, 320 MB; class archive 8 s) if it is missing. */
export const ensureRegistry = async (): Promise<RegistryInstallation> => {
  const java = await findJava(JAVA_MAJOR);
  const name = `apicurio-registry-${VERSION}`;
  const folder = await ensureArchive(name, `io.apicurio:apicurio-registry-app:${VERSION}:tar.gz:all`);
  const started = await makeOnce(join(cacheFolder, `${name}-java-${java.version}`), async (draft) => {
    const made = join(draft, 'start');
    await mkdir(made);
    await makeArchive({ java: java.path, folder, archive: join(made, 'classes.jsa') }, draft);
    return made;
  });
  return { java: java.path, folder, archive: join(started, 'classes.jsa') };
};

const registryProcess = (
  { java, folder: program }: RegistryInstallation,
  folder: string,
  { port, management, archiveFlag }: { port: number; management: number; archiveFlag: string },
): JavaProcess => {
  const settings = {
    'quarkus.http.host': '127.0.0.1',
    'quarkus.http.port': port,
    'quarkus.management.host': '127.0.0.1',
    'quarkus.management.port': management,
    'quarkus.http.access-log.enabled': false,
    'apicurio.datasource.url': `jdbc:h2:file:${join(folder, 'schemas')};WRITE_DELAY=0`,
    'apicurio.datasource.jdbc.initial-size': 2,
  };
  const flags = ['-Xms64m', '-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', archiveFlag];
  const definitions = Object.entries(settings).map(([key, value]) => `-D${key}=${value}`);
  return new JavaProcess(folder, {
    name: 'Apicurio Registry',
    java,
    args: [...flags, ...definitions, '-jar', 'quarkus-run.jar'],
    started: 'Listening on',
    cwd: program,
  });
};

/** Java writes the archive when a registry that ran with this flag ends. */
const makeArchive = async (installation: RegistryInstallation, draft: string): Promise<void> => {
  const scratch = join(draft, 'run');
  await mkdir(scratch);
  const watchdog = startWatchdog(scratch);
  const archiveFlag = `-XX:ArchiveClassesAtExit=${installation.archive}`;
  const ports = { port: await pickPort(), management: await pickPort() };
  const registry = registryProcess(installation, join(scratch, 'registry'), { ...ports, archiveFlag });
  await registry.start();
  await (await fetch(`${confluentUrl(ports.port)}/subjects`)).text();
  await registry.end('SIGTERM');
  await watchdog.end();
};

const confluentUrl = (port: number): string => `http://127.0.0.1:${port}/apis/ccompat/v7`;

/** Starts one of its own (2.5 s; installs the registry when it is missing). */
export const startRegistry = async (): Promise<TestRegistry> => {
  const installation = await ensureRegistry();
  const root = await mkdtemp(join(tmpdir(), 'varve-registry-'));
  const watchdog = startWatchdog(root);
  const archiveFlag = `-XX:SharedArchiveFile=${installation.archive}`;
  for (let attempt = 1; ; attempt++) {
    const port = await pickPort();
    const folder = join(root, `registry-${attempt}`);
    const ports = { port, management: await pickPort() };
    const process = registryProcess(installation, folder, { ...ports, archiveFlag });
    try {
      await process.start();
      return new Registry(process, port, () => watchdog.end());
    } catch (error) {
      // Another test may take a port between the pick and the bind.
      if (attempt < 3 && /already (in use|bound)/.test(String(error))) continue;
      await watchdog.end();
      throw error;
    }
  }
};

class Registry implements TestRegistry {
  readonly version = `Apicurio ${VERSION}`;
  readonly port: number;
  readonly #process: JavaProcess;
  readonly #endWatchdog: () => Promise<void>;

  constructor(process: JavaProcess, port: number, endWatchdog: () => Promise<void>) {
    this.port = port;
    this.#process = process;
    this.#endWatchdog = endWatchdog;
  }

  get url(): string {
    ran('schema registry', this.version);
    return confluentUrl(this.port);
  }

  kill(): Promise<void> {
    return this.#process.end('SIGKILL');
  }

  stop(): Promise<void> {
    return this.#process.end('SIGTERM');
  }

  restart(): Promise<void> {
    return this.#process.start();
  }

  pause(): void {
    this.#process.signal('SIGSTOP');
  }

  resume(): void {
    this.#process.signal('SIGCONT');
  }

  pids(): readonly number[] {
    return this.#process.pid === undefined ? [] : [this.#process.pid];
  }

  logTail(): Promise<string> {
    return this.#process.logTail();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#endWatchdog();
  }
}
