// A real Trino of the tests: how it is installed into the cache folder (540 MB), started with the catalogs
// that somebody wants (45 s, 1 GB), and asked. Knows no table of ours.
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ran } from './components.ts';
import { JavaProcess, startWatchdog } from './java-process.ts';
import { ensureArchive, findJava } from './maven.ts';
import { until } from './polling.ts';
import { pickPort } from './postgres-process.ts';

/** The last one whose server and whose Iceberg connector are both in the public repository. */
const VERSION = '476';

type TestTrino = {
  /** Rows of one statement, each a list of its values. Throws what the server says. */
  query(sql: string): Promise<unknown[][]>;
  [Symbol.asyncDispose](): Promise<void>;
};

type Answer = { nextUri?: string; data?: unknown[][]; error?: { message: string } };

const properties = (entries: Readonly<Record<string, string | number | boolean>>): string =>
  Object.entries(entries)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');

/** `catalogs`: by name, the text of its properties file. */
export const startTrino = async (catalogs: Readonly<Record<string, string>>): Promise<TestTrino> => {
  const [server, connector, java, port] = await Promise.all([
    ensureArchive(`trino-server-${VERSION}`, `io.trino:trino-server-core:${VERSION}:tar.gz`),
    ensureArchive(`trino-iceberg-${VERSION}`, `io.trino:trino-iceberg:${VERSION}:zip`),
    findJava(24),
    pickPort(),
  ]);
  const root = await mkdtemp(join(tmpdir(), 'varve-trino-'));
  const watchdog = startWatchdog(root);
  const folder = join(root, 'trino');
  await mkdir(join(folder, 'etc/catalog'), { recursive: true });
  await mkdir(join(folder, 'plugin'));
  await symlink(connector, join(folder, 'plugin/iceberg'));
  const config = {
    coordinator: true,
    'node-scheduler.include-coordinator': true,
    'http-server.http.port': port,
    'discovery.uri': `http://127.0.0.1:${port}`,
    'plugin.dir': join(folder, 'plugin'),
  };
  await writeFile(join(folder, 'etc/config.properties'), properties(config));
  for (const [name, text] of Object.entries(catalogs))
    await writeFile(join(folder, `etc/catalog/${name}.properties`), text);
  const definitions = {
    config: 'etc/config.properties',
    'node.environment': 'test',
    'node.id': 'one',
    'node.data-dir': join(folder, 'data'),
  };
  const process = new JavaProcess(folder, {
    name: 'Trino',
    java: java.path,
    args: [
      '-Xmx1G',
      '--enable-native-access=ALL-UNNAMED',
      '--sun-misc-unsafe-memory-access=allow',
      '--add-modules=jdk.incubator.vector',
      ...Object.entries(definitions).map(([key, value]) => `-D${key}=${value}`),
      ...['-cp', join(server, 'lib/*'), 'io.trino.server.TrinoServer'],
    ],
    started: 'SERVER STARTED',
  });
  const end = async (): Promise<void> => {
    await process.end('SIGKILL');
    await watchdog.end();
  };
  try {
    await process.start();
    // A server that says it has started still has to find itself.
    await until(() => hasWorkers(port));
  } catch (thrown) {
    await end();
    throw thrown;
  }
  return { query: (sql) => query(port, sql), [Symbol.asyncDispose]: end };
};

const hasWorkers = async (port: number): Promise<boolean> => {
  try {
    return (await query(port, 'select node_id from system.runtime.nodes')).length > 0;
  } catch (thrown) {
    if (/No nodes available/.test(String(thrown))) return false;
    throw thrown;
  }
};

const query = async (port: number, sql: string): Promise<unknown[][]> => {
  ran('trino', VERSION);
  const rows: unknown[][] = [];
  const headers = { 'x-trino-user': 'test' };
  let response = await fetch(`http://127.0.0.1:${port}/v1/statement`, { method: 'POST', headers, body: sql });
  for (;;) {
    const { nextUri, data = [], error } = (await response.json()) as Answer;
    if (error !== undefined) throw new Error(`Trino refuses ${sql}: ${error.message}`);
    rows.push(...data);
    if (nextUri === undefined) return rows;
    response = await fetch(nextUri, { headers });
  }
};
