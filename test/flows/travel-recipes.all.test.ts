// The recipes of docs/table.md for asking, as printed there: commands, SQL in DuckDB, Python with PyIceberg.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { delimiter, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ran } from '../support/components.ts';
import { startPostgres } from '../support/postgres.ts';
import { ensureDuckDb, ensurePyIceberg } from '../support/readers.ts';
import { readRecipes } from '../support/recipes.ts';
import { readTable } from '../support/table-rows.ts';
import { putOnPath, setTravelled } from '../support/travelled.ts';

const server = await startPostgres({ major: 17 });
const travelled = await setTravelled(server);
test.after(async () => {
  await travelled[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});
const cwd = travelled.pipeline.directory;

/** Standard output of a program that is given a text and ends well. */
const outputOf = (command: string, args: readonly string[], input: string): Promise<string> =>
  new Promise((done, fail) => {
    const child = spawn(command, args, { cwd });
    let [out, error] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()));
    child.once('error', fail);
    child.once('close', (code) => (code === 0 ? done(out) : fail(new Error(`${input}\n${out}${error}`))));
    child.stdin.end(input);
  });

test('commands', async () => {
  const bin = await putOnPath(travelled);
  const { state, rows } = await readTable(travelled.tables, 'customers');
  const environment = {
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH}`,
    SNAPSHOT: String(state.metadata.snapshots[0]?.['snapshot-id']),
    ORDER: String(rows[0]?._order),
  };
  const lines = (await readRecipes('table.md', 'Asking', 'sh')).join('').trimEnd().split('\n');
  assert.ok(lines.length > 10);
  for (const line of lines) {
    const { stdout } = await promisify(execFile)('sh', ['-ec', line], { cwd, env: environment });
    assert.notEqual(stdout, '', line);
  }
});

test('SQL in DuckDB', async () => {
  const { python, version } = await ensureDuckDb();
  ran('duckdb iceberg', version);
  const script = resolve(import.meta.dirname, '../support/run_statements.py');
  const [recipe = ''] = await readRecipes('table.md', 'Asking', 'sql');
  const statements = recipe.split(/(?<=;)\n/).filter((text) => text.trim() !== '');
  const [load = '', ...queries] = statements;
  assert.equal(queries.length, 4);
  const found: string[] = [];
  for (const query of queries) found.push(await outputOf(python, [script, 'duckdb'], `${load}\n${query}`));
  assert.match(found[0] ?? '', /8/);
  assert.equal(
    found[2]?.trimEnd().split('\n').length,
    4,
    'three versions under the key, and one of another row',
  );
  assert.match(found[3] ?? '', /"versions": 2/);
});

test('Python with PyIceberg', async () => {
  const { python, versions } = await ensurePyIceberg();
  ran('pyiceberg', versions.pyiceberg);
  const [recipe = ''] = await readRecipes('table.md', 'Asking', 'python');
  assert.deepEqual((await outputOf(python, ['-'], recipe)).trim().split('\n'), ['8', '0', '8']);
});
