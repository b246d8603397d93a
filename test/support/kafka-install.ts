// What a broker of the tests is made of, once per machine: the jars, a formatted data folder that every
// broker copies, and a class archive that cuts its start from 5 s to 1.5 s. Starts no test's broker.
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { JavaProcess, startWatchdog } from './java-process.ts';
import { type NodePorts, nodeSettings } from './kafka-settings.ts';
import { makeOnce } from './make-once.ts';
import { cacheFolder, classPath, ensureJars, findJava } from './maven.ts';
import { pickPort } from './postgres-process.ts';

const run = promisify(execFile);

export const KAFKA_VERSION = '4.3.1';

/** Who a broker with SASL lets in; SCRAM's are part of the formatted folder. */
export const KAFKA_USERS = [
  { username: 'varve', password: 'varve-secret' },
  { username: 'guest', password: 'guest-secret' },
] as const;

type JavaCode = { readonly java: string; readonly classPath: string };
type KafkaInstallation = JavaCode & {
  /** `meta.properties` and `bootstrap.checkpoint` of one node. */
  readonly template: string;
  /** Class archive of that Java and class path. */
  readonly archive: string;
};

/** Installs Kafka (10 s, 44 MB; folder and archive 10 s) if it is missing. */
export const ensureKafka = async (): Promise<KafkaInstallation> => {
  const java = await findJava(17);
  const jars = await ensureJars(`kafka-${KAFKA_VERSION}`, [
    `org.apache.kafka:kafka_2.13:${KAFKA_VERSION}`,
    'org.slf4j:slf4j-simple:1.7.36',
  ]);
  const program = { java: java.path, classPath: await classPath(jars) };
  // After the jars are at their place: the archive holds their paths.
  const folder = await makeOnce(
    join(cacheFolder, `kafka-${KAFKA_VERSION}-java-${java.version}`),
    async (draft) => {
      const made = join(draft, 'start');
      await format(program, made);
      await makeArchive(program, made);
      return made;
    },
  );
  return { ...program, template: join(folder, 'data'), archive: join(folder, 'classes.jsa') };
};

/** Free ports for so many nodes. */
export const pickNodes = async (nodes: number): Promise<NodePorts[]> => {
  const ports: number[] = [];
  while (ports.length < 3 * nodes) {
    const port = await pickPort();
    if (!ports.includes(port)) ports.push(port);
  }
  return Array.from({ length: nodes }, (_, at) => {
    const [client = 0, internal = 0, controller = 0] = ports.slice(3 * at);
    return { client, internal, controller };
  });
};

const memoryFlags = ['-Xms64m', '-Xmx512m', '-XX:MaxDirectMemorySize=128m'];
/** Each says many lines a partition that no test needs. */
const quietFlags = ['state.change.logger', 'kafka.cluster', 'kafka.log', 'org.apache.kafka.storage'].map(
  (logger) => `-Dorg.slf4j.simpleLogger.log.${logger}=warn`,
);
const clockFlags = ['showDateTime=true', 'dateTimeFormat=HH:mm:ss.SSS'].map(
  (setting) => `-Dorg.slf4j.simpleLogger.${setting}`,
);
const baseFlags = [...memoryFlags, ...quietFlags, ...clockFlags];
const quickFlags = [...baseFlags, '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];

/** Flags of a broker that starts quickly, or of one that runs so long that the full compiler pays. */
export const kafkaFlags = (archive: string, isLongRunning: boolean): string[] => [
  ...(isLongRunning ? [...baseFlags, '-XX:+UseG1GC'] : quickFlags),
  `-XX:SharedArchiveFile=${archive}`,
];

/** Writes the file that a broker starts with; gives its path. */
export const writeProperties = async (
  folder: string,
  settings: Readonly<Record<string, string>>,
): Promise<string> => {
  await mkdir(folder, { recursive: true });
  const lines = Object.entries({ ...settings, 'log.dirs': join(folder, 'data') }).map(
    ([key, value]) => `${key}=${value.replaceAll('\\', '\\\\')}\n`,
  );
  const path = join(folder, 'kraft.properties');
  await writeFile(path, lines.join(''));
  return path;
};

/** A broker whose data and `kraft.properties` are in `folder`. */
export const brokerProcess = (folder: string, program: JavaCode, flags: readonly string[]): JavaProcess =>
  new JavaProcess(folder, {
    name: 'Kafka',
    java: program.java,
    args: [...flags, '-cp', program.classPath, 'kafka.Kafka', join(folder, 'kraft.properties')],
    started: 'Kafka Server started',
  });

/** Formats `<folder>/data` as node 1. */
const format = async ({ java, classPath: jars }: JavaCode, folder: string): Promise<void> => {
  const properties = await writeProperties(folder, nodeSettings(await pickNodes(1), 0));
  const users = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) =>
    KAFKA_USERS.flatMap(({ username, password }) => [
      '--add-scram',
      `${mechanism}=[name=${username},password=${password}]`,
    ]),
  );
  const tool = ['-cp', jars, 'kafka.tools.StorageTool', 'format', '-c', properties];
  await run(java, [...quickFlags, ...tool, '-t', 'Fxp3T2nVQ8mWk0l4y7h1Zw', ...users]);
};

/** Java writes the archive when a broker that ran with this flag ends. */
const makeArchive = async (code: JavaCode, folder: string): Promise<void> => {
  const scratch = `${folder}-run`;
  await mkdir(scratch);
  const watchdog = startWatchdog(scratch);
  const node = join(scratch, 'node');
  await run('cp', ['-a', folder, node]);
  await writeProperties(node, nodeSettings(await pickNodes(1), 0));
  const flags = [...quickFlags, `-XX:ArchiveClassesAtExit=${join(folder, 'classes.jsa')}`];
  const broker = brokerProcess(node, code, flags);
  await broker.start();
  await broker.end('SIGTERM');
  await watchdog.end();
};
