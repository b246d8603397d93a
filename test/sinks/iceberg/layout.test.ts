// Names of directories and files: safe on any file system, never shared by two tables.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VarveError } from '../../../src/errors.ts';
import {
  directoryName,
  fileKey,
  metadataFile,
  metadataVersion,
  tableDirectories,
} from '../../../src/sinks/parquet/layout.ts';

const isRefused = (thrown: unknown): boolean =>
  thrown instanceof VarveError && thrown.kind === 'config_invalid';

test('letters, digits and underscores stay, every other byte is spelled', () => {
  assert.equal(directoryName('orders_2024'), 'orders_2024');
  assert.equal(directoryName('a-b'), 'a_x2D_b');
  assert.equal(directoryName('é'), '_xC3__xA9_');
  assert.equal(directoryName('../etc'), '_x2E__x2E__x2F_etc');
  assert.equal(directoryName('a b"; drop'), 'a_x20_b_x22__x3B__x20_drop');
});

test('any name makes a directory that every file system takes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }), (name) => {
      const directory = directoryName(name);
      assert.match(directory, /^[A-Za-z0-9_]+$/);
      assert.ok(directory.length <= 200);
    }),
  );
  const long = 'я'.repeat(60);
  assert.notEqual(directoryName(`${long}1`), directoryName(`${long}2`));
});

test('tables that would share a directory are refused before anything is written', () => {
  const table = (name: string, namespace = 'public') => ({ namespace, name });
  assert.deepEqual(
    tableDirectories([table('orders'), table('orders', 'sales')]).map(({ path }) => path),
    ['public/orders', 'sales/orders'],
  );
  assert.equal(tableDirectories([table('orders')])[0]?.statePath, 'public/orders__varve_state');
  assert.throws(() => tableDirectories([table('Orders'), table('orders')]), isRefused);
  assert.throws(() => tableDirectories([table('a', 'S'), table('A', 's')]), isRefused);
  assert.throws(() => tableDirectories([table('a-b'), table('a_x2D_b')]), isRefused);
  assert.throws(() => tableDirectories([table('orders'), table('orders__varve_state')]), isRefused);
  assert.throws(() => tableDirectories([table('')]), isRefused);
  assert.throws(() => tableDirectories([table('x', '')]), isRefused);
});

test('a metadata file tells its version, and nothing else does', () => {
  for (const version of [1, 9, 10, 123_456_789])
    assert.equal(metadataVersion(metadataFile('s3://b/t', version)), version);
  for (const name of ['v0', 'v01', 'v-1', 'v', 'x1', 'v1.gz', '00001-uuid'])
    assert.equal(metadataVersion(`s3://b/t/metadata/${name}.metadata.json`), null, name);
  assert.equal(metadataVersion('s3://b/t/metadata/v1.metadata.json.crc'), null);
});

test('spellings of one file compare alike', () => {
  assert.equal(fileKey('file:///a/b'), fileKey('file:/a/b'));
  assert.equal(fileKey('s3a://b/x'), fileKey('s3://b/x'));
  assert.notEqual(fileKey('file:///a/b'), fileKey('file:///a/c'));
  assert.notEqual(fileKey('s3://b/a//b'), fileKey('s3://b/a/b'));
});
