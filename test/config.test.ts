// Pipeline files: defaults visible, references resolved, and every mistake at once with its line.
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { jsonSchema } from '../src/config.ts';
import { type ConnectorOptions, loadConfig } from '../src/config-file.ts';
import { VarveError } from '../src/errors.ts';

const options = z.strictObject({
  kind: z.literal('lake'),
  url: z.string().min(1),
  tables: z.array(z.string()).min(1),
});
const connectors: ConnectorOptions = { kinds: ['lake'], load: async () => options };

const file = (text: string): string => {
  const path = join(mkdtempSync(join(tmpdir(), 'varve-config-')), 'pipeline.yaml');
  writeFileSync(path, text);
  return path;
};

const refused = async (text: string, environment: NodeJS.ProcessEnv = {}): Promise<string> => {
  const error = await loadConfig(file(text), connectors, environment).then(
    () => assert.fail('a wrong file was accepted'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof VarveError);
  assert.equal(error.kind, 'config_invalid');
  return error.message;
};

const GOOD = `name: shop
source: {kind: lake, url: "\${env:SHOP_URL}", tables: ["public.*"]}
table: {location: ./tables}
`;

test('defaults are filled in, paths are absolute, references are resolved and kept secret', async () => {
  const path = file(GOOD);
  const config = await loadConfig(path, connectors, { SHOP_URL: 'lake://u:pw@host' });
  assert.equal((config.source as { url: string }).url, 'lake://u:pw@host');
  assert.deepEqual(config.secrets, ['lake://u:pw@host', 'pw']);
  assert.equal(config.table?.location, join(path, '..', 'tables'));
  assert.equal(config.table?.commit_interval_ms, 10_000);
  assert.ok(config.topic.kind === 'embedded');
  assert.equal(config.topic.path, join(path, '..', 'var/topic'));
  assert.equal(config.topic.prefix, 'shop');
  assert.equal(config.topic.format.decimal, 'precise');
  assert.deepEqual(config.columns, {});
  assert.deepEqual(config.snapshot, { mode: 'initial', parallel: 2 });
  assert.equal(config.http, undefined);
});

test('a reference to a file is read from beside the pipeline file', async () => {
  const path = file(GOOD.replace('env:SHOP_URL', 'file:url.txt'));
  writeFileSync(join(path, '../url.txt'), 'lake://from-file\n');
  const config = await loadConfig(path, connectors, {});
  assert.equal((config.source as { url: string }).url, 'lake://from-file');
});

test('all mistakes come at once, with line, key, what is allowed and the nearest spelling', async () => {
  const message = await refused(
    'name: Shop\nsource:\n  kind: lake\n  url: x\n  tabels: ["a"]\nsnapshot:\n  mode: intial\n' +
      '  parallel: many\nhttp: {listen: "0.0.0.0:80"}\n',
  );
  const lines = message.split('\n');
  assert.match(lines[0] ?? '', /pipeline\.yaml:1: name: lower-case letters/);
  assert.ok(
    lines.some((line) => /:5: source\.tabels: unknown key tabels; did you mean tables\?/.test(line)),
    message,
  );
  assert.ok(
    lines.some((line) => /source\.tables: tables is missing/.test(line)),
    message,
  );
  assert.ok(
    lines.some((line) => /:7: snapshot\.mode: .*"initial"\|"never"/.test(line)),
    message,
  );
  assert.ok(
    lines.some((line) => /:8: snapshot\.parallel: .*number/.test(line)),
    message,
  );
  assert.ok(
    lines.some((line) => /:9: http\.listen: a loopback address/.test(line)),
    message,
  );
});

test('a missing secret is named once, by what is missing', async () => {
  const message = await refused(GOOD);
  assert.match(message, /:2: source\.url: missing secret: environment variable SHOP_URL is not set/);
  assert.equal(message.split('\n').length, 1);
});

test('duplicate keys, text that is not YAML, unknown kinds and missing files are refused', async () => {
  assert.match(await refused('name: a\nname: b\n'), /:2: .*unique/i);
  assert.match(await refused('name: [\n'), /pipeline\.yaml:\d+: /);
  assert.match(
    await refused('name: a\nsource: {kind: lakes}\n'),
    /:2: source\.kind: allowed: lake; did you mean lake\?/,
  );
  assert.match(await refused('[]\n'), /pipeline\.yaml:1: /);
  await assert.rejects(loadConfig('/nowhere/x.yaml', connectors, {}), /cannot be read \(ENOENT\)/);
});

test('the JSON Schema names every key with its description', () => {
  const text = JSON.stringify(jsonSchema([options]));
  for (const key of ['commit_interval_ms', 'retention_hours', 'parallel', 'listen', 'late_window_ms']) {
    assert.ok(text.includes(`"${key}"`), key);
  }
});
