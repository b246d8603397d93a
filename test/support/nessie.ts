// A real Iceberg REST catalog for tests, Nessie's, over the tests' S3 server; gone when the test process is
// gone. It keeps what it knows in memory, and nothing of it outlives a stop. Knows no table.
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ran } from './components.ts';
import { JavaProcess, startWatchdog } from './java-process.ts';
import { ensureArtifact, findJava } from './maven.ts';
import { pickPort } from './postgres-process.ts';
import { S3_USER, type TestS3 } from './s3.ts';

/** The newest one whose server is in the public repository. */
const VERSION = '0.99.0';
/** Its class files are of Java 21. */
const JAVA_MAJOR = 21;

export type TestNessie = {
  readonly port: number;
  /** Of the REST catalog. */
  readonly uri: string;
  readonly warehouse: string;
  /** The location of the warehouse. */
  readonly location: string;
  logTail(): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

const settingsOf = (s3: TestS3, ports: { port: number; management: number }) => ({
  'quarkus.http.host': '127.0.0.1',
  'quarkus.http.port': ports.port,
  'quarkus.management.host': '127.0.0.1',
  'quarkus.management.port': ports.management,
  'quarkus.http.access-log.enabled': false,
  'quarkus.otel.sdk.disabled': true,
  'nessie.version.store.type': 'IN_MEMORY',
  'nessie.catalog.default-warehouse': 'lake',
  'nessie.catalog.warehouses.lake.location': `s3://${s3.bucket}/warehouse`,
  'nessie.catalog.service.s3.default-options.region': 'us-east-1',
  'nessie.catalog.service.s3.default-options.endpoint': s3.endpoint,
  'nessie.catalog.service.s3.default-options.path-style-access': true,
  'nessie.catalog.service.s3.default-options.access-key': 'urn:nessie-secret:quarkus:lake-keys',
  // Newer clients ask for signatures where this server has none.
  'nessie.catalog.service.s3.default-options.request-signing-enabled': false,
  'lake-keys.name': S3_USER.key,
  'lake-keys.secret': S3_USER.secret,
});

/** Starts one of its own (12 s; fetches the server, 245 MB, when it is missing). */
export const startNessie = async (s3: TestS3): Promise<TestNessie> => {
  const [jar, java] = await Promise.all([
    ensureArtifact(`nessie-${VERSION}`, `org.projectnessie.nessie:nessie-quarkus:${VERSION}:jar:runner`),
    findJava(JAVA_MAJOR),
  ]);
  const root = await mkdtemp(join(tmpdir(), 'varve-nessie-'));
  const watchdog = startWatchdog(root);
  for (let attempt = 1; ; attempt++) {
    const folder = join(root, `server-${attempt}`);
    await mkdir(folder);
    const ports = { port: await pickPort(), management: await pickPort() };
    const flags = ['-Xms128m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
    const definitions = Object.entries(settingsOf(s3, ports)).map(([key, value]) => `-D${key}=${value}`);
    const server = new JavaProcess(folder, {
      name: 'Nessie',
      java: java.path,
      args: [...flags, ...definitions, '-jar', jar],
      started: 'Listening on',
    });
    try {
      await server.start();
    } catch (error) {
      // Another test may take a port between the pick and the bind.
      if (attempt < 3 && /already (in use|bound)/.test(String(error))) continue;
      await watchdog.end();
      throw error;
    }
    ran('nessie', VERSION);
    return {
      port: ports.port,
      uri: `http://127.0.0.1:${ports.port}/iceberg`,
      warehouse: 'lake',
      location: `s3://${s3.bucket}/warehouse`,
      logTail: () => server.logTail(),
      [Symbol.asyncDispose]: async () => {
        await server.end('SIGKILL');
        await watchdog.end();
      },
    };
  }
};
