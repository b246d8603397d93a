// Independent readers of the tables, PyIceberg, DuckDB's Iceberg reader and Spark: how each is installed into
// the cache folder, and one way to ask any of them for rows. Knows no table of ours.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ran } from './components.ts';
import { makeOnce } from './make-once.ts';

const run = promisify(execFile);

export type ReaderEngine = 'pyiceberg' | 'duckdb' | 'spark';
type PythonReaders = {
  readonly python: string;
  readonly versions: { pyiceberg: string; duckdb: string };
};
type SparkReader = {
  readonly python: string;
  readonly jar: string;
  readonly versions: { spark: string };
};

const PYICEBERG = '0.12.0';
const PYICEBERG_CORE = '0.11.0';
// The extensions' wheels stop at this version, and must equal the engine's.
const DUCKDB = '1.5.5';
const SPARK = '4.1.4';
const ICEBERG_SPARK = '1.12.0';
const CHDB = '4.4.0';

const extensions = ['iceberg', 'avro', 'httpfs'].map((name) => `duckdb-extension-${name}==${DUCKDB}`);
const pythonPins = [
  `pyiceberg[pyarrow,sql-sqlite]==${PYICEBERG}`,
  `pyiceberg-core==${PYICEBERG_CORE}`,
  `duckdb==${DUCKDB}`,
  ...extensions,
];
const sparkPins = [`pyspark==${SPARK}`, 'pyarrow>=18', 'pandas>=2.2.0,<3'];
const runtime = `org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:${ICEBERG_SPARK}`;

const cache = resolve(process.env.VARVE_CACHE ?? fileURLToPath(new URL('../../.cache', import.meta.url)));

/** The Python with PyIceberg and DuckDB's Iceberg reader; installed (90 s, 420 MB) if it is missing. */
export const ensurePyIceberg = async (): Promise<PythonReaders> => {
  const folder = join(cache, `pyiceberg-${PYICEBERG}-duckdb-${DUCKDB}`);
  const python = await ensurePython(folder, pythonPins);
  return { python, versions: { pyiceberg: PYICEBERG, duckdb: DUCKDB } };
};

/** The Python with all of DuckDB that attached tables need; installed (10 s, 150 MB) if it is missing. */
export const ensureDuckDb = async (): Promise<{ readonly python: string; readonly version: string }> => {
  const pins = [`duckdb==${DUCKDB}`, `duckdb-extension-aws==${DUCKDB}`, ...extensions, 'pytz'];
  return { python: await ensurePython(join(cache, `duckdb-${DUCKDB}-attach`), pins), version: DUCKDB };
};

/** The Python with ClickHouse's engine; installed (20 s, 500 MB) if it is missing. */
export const ensureClickHouse = async (): Promise<{ readonly python: string; readonly version: string }> => {
  const python = await ensurePython(join(cache, `chdb-${CHDB}`), [`chdb==${CHDB}`]);
  return { python, version: `chdb ${CHDB}` };
};

/**
 * The Python with Spark, and the jar of Iceberg's runtime for it; installed (65 s, 600 MB) if they are
 * missing.
 */
export const ensureSpark = async (): Promise<SparkReader> => {
  await demand(
    'java',
    ['-version'],
    'Spark needs Java 17 or newer on the PATH (Debian: openjdk-17-jre-headless).',
  );
  const python = await ensurePython(join(cache, `spark-${SPARK}`), sparkPins);
  const folder = await makeOnce(join(cache, `iceberg-spark-runtime-${ICEBERG_SPARK}`), async (draft) => {
    const target = join(draft, 'jar');
    await mkdir(target);
    const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy';
    await demand(
      'mvn',
      ['-B', '-q', plugin, `-Dartifact=${runtime}`, `-DoutputDirectory=${target}`],
      `Iceberg's runtime for Spark (${runtime}) comes by Maven: it needs "mvn" on the PATH and a repository.`,
    );
    return target;
  });
  const [jar] = (await readdir(folder)).filter((name) => name.endsWith('.jar'));
  if (jar === undefined) throw new Error(`${folder} holds no jar; remove the folder and run again.`);
  return { python, jar: join(folder, jar), versions: { spark: `${SPARK}, Iceberg ${ICEBERG_SPARK}` } };
};

/** A virtual environment with exactly these packages; a complete one is used as it is. */
const ensurePython = async (folder: string, pins: readonly string[]): Promise<string> => {
  await makeOnce(folder, async (draft) => {
    const environment = join(draft, 'environment');
    const check = 'import sys; sys.exit(sys.version_info < (3, 10))';
    await demand(
      'python3',
      ['-c', check],
      'The table readers need Python 3.10 or newer as "python3" on the PATH.',
    );
    await demand(
      'python3',
      ['-m', 'venv', environment],
      'Python cannot make a virtual environment (Debian: python3-venv).',
    );
    await demand(
      join(environment, 'bin/python'),
      ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...pins],
      `pip could not install the table readers: ${pins.join(' ')}. Is a package index reachable?`,
    );
    return environment;
  });
  return join(folder, 'bin/python');
};

const demand = async (program: string, args: readonly string[], sentence: string): Promise<void> => {
  try {
    await run(program, args, { maxBuffer: 64 << 20 });
  } catch (cause) {
    throw new Error(`${sentence}\n${(cause as { stderr?: string }).stderr ?? cause}`, { cause });
  }
};

type ReadRequest = {
  /** Path of a `*.metadata.json`. */
  readonly metadata: string;
  /** Absent: the current snapshot. */
  readonly snapshotId?: bigint;
  /** Absent: all columns. */
  readonly columns?: readonly string[];
};

/** One engine, started once (Spark needs 8-25 s), asked any number of times. */
class TableReader {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;
  readonly #version: string;

  constructor(child: ChildProcess, name: string, version: string) {
    if (!child.stdout) throw new Error('the reader has no output');
    this.#child = child;
    this.#name = name;
    this.#version = version;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** The rows as canonical JSON lines (see read_table.py), sorted. One request at a time. */
  async read(request: ReadRequest): Promise<string[]> {
    ran(this.#name, this.#version);
    const snapshot = request.snapshotId === undefined ? {} : { snapshot_id: String(request.snapshotId) };
    const columns = request.columns ? { columns: request.columns } : {};
    this.#child.stdin?.write(`${JSON.stringify({ metadata: request.metadata, ...snapshot, ...columns })}\n`);
    const head = JSON.parse(await this.#line()) as { rows: number } | { error: string };
    if ('error' in head) throw new Error(`${this.#name} cannot read ${request.metadata}: ${head.error}`);
    const rows: string[] = [];
    while (rows.length < head.rows) rows.push(await this.#line());
    return rows;
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#name} ended; its last words are above.`);
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((settled) => this.#child.once('exit', settled));
    this.#child.stdin?.end();
    await ended;
  }
}

/** Starts an engine, installing it if it is missing. */
export const openTableReader = async (engine: ReaderEngine): Promise<TableReader> => {
  const script = fileURLToPath(new URL('./read_table.py', import.meta.url));
  const open = (python: string, args: readonly string[]): ChildProcess =>
    spawn(python, [script, '--engine', engine, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (engine === 'spark') {
    const spark = await ensureSpark();
    return new TableReader(open(spark.python, ['--jar', spark.jar]), engine, spark.versions.spark);
  }
  const { python, versions } = await ensurePyIceberg();
  return new TableReader(open(python, []), engine === 'duckdb' ? 'duckdb iceberg' : engine, versions[engine]);
};
