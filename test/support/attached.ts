// Runs what `varve attach` prints, exactly as it was printed, in the engine that it is for. Knows no table of
// ours, and changes nothing of the text.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { ran } from './components.ts';
import { cacheFolder } from './maven.ts';
import { ensureClickHouse, ensureDuckDb, ensurePyIceberg, ensureSpark } from './readers.ts';

type Program = {
  command: string;
  args: readonly string[];
  input?: string;
  cwd?: string;
  environment?: Readonly<Record<string, string>>;
};

/** Standard output of a program that ends well. */
const outputOf = ({ command, args, input = '', cwd, environment }: Program): Promise<string> =>
  new Promise((done, fail) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...environment } });
    const texts = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (texts.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (texts.err += chunk.toString()));
    child.once('error', fail);
    child.once('close', (code) => {
      if (code === 0) done(texts.out);
      else fail(new Error(`${command} ended with ${code}\n${input}\n${texts.out}${texts.err}`));
    });
    child.stdin.end(input);
  });

const statements = resolve(import.meta.dirname, 'run_statements.py');

/** By the engine's name in --engine: the `[id, v]` of the rows that it finds. */
export const runAttached: Readonly<Record<string, (text: string) => Promise<[number, string][]>>> = {
  async pyiceberg(text) {
    const { python, versions } = await ensurePyIceberg();
    ran('pyiceberg', versions.pyiceberg);
    const printed = await outputOf({ command: python, args: ['-'], input: text });
    return [...printed.matchAll(/^\{'id': (\d+), 'v': '([^']*)'/gm)].map(([, id, v = '']) => [Number(id), v]);
  },
  async duckdb(text) {
    const { python, version } = await ensureDuckDb();
    ran('duckdb iceberg', version);
    return rowsOf(await outputOf({ command: python, args: [statements, 'duckdb'], input: text }));
  },
  async clickhouse(text) {
    const { python, version } = await ensureClickHouse();
    ran('clickhouse', version);
    return rowsOf(await outputOf({ command: python, args: [statements, 'clickhouse'], input: text }));
  },
  async spark(text) {
    const { python, versions } = await ensureSpark();
    ran('spark', versions.spark);
    const folder = await mkdtemp(join(tmpdir(), 'varve-spark-'));
    try {
      // What the packages are kept in is this machine's matter, not the text's.
      const defaults = `spark.ui.enabled false\nspark.jars.ivy ${join(cacheFolder, 'ivy')}\n`;
      await writeFile(join(folder, 'spark-defaults.conf'), defaults);
      const printed = await outputOf({
        command: 'sh',
        args: ['-c', text],
        cwd: folder,
        environment: {
          PATH: `${dirname(python)}${delimiter}${process.env.PATH}`,
          SPARK_CONF_DIR: folder,
          SPARK_LOCAL_IP: '127.0.0.1',
        },
      });
      return [...printed.matchAll(/^(\d+)\t(\w+)\t/gm)].map(([, id, v = '']) => [Number(id), v]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

const rowsOf = (lines: string): [number, string][] =>
  lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { id: number; v: string })
    .map(({ id, v }) => [id, v]);

/** The catalog file's text and the statements of what is printed for Trino. */
export const splitTrino = (text: string): { properties: string; sql: string[] } => {
  const properties = [...text.matchAll(/^-- {3}(\S.*)$/gm)].map(([, line]) => `${line}\n`).join('');
  const code = text.replaceAll(/^--.*\n/gm, '').trim();
  return { properties, sql: code.split(/;\s*/).filter((one) => one !== '') };
};
