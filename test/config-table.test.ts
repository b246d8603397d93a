// What the `table:` part of a pipeline file may say, and what a single table says otherwise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tableChoices, tableSchema } from '../src/config-table.ts';

test('sizes are bytes, and what is no size, too small or too large is refused by what is allowed', () => {
  assert.equal(tableSchema.parse({ location: 'x', commit_bytes: '64MB' }).commit_bytes, 64 << 20);
  assert.equal(tableSchema.parse({ location: 'x' }).memory_limit, 512 << 20);
  for (const [text, why] of [
    ['64', /a size such as 64MB/],
    ['64 MB', /a size such as 64MB/],
    ['1KB', /between 1MB and 1GB/],
    ['2GB', /between 1MB and 1GB/],
  ] as const) {
    const { error } = tableSchema.safeParse({ location: 'x', commit_bytes: text });
    assert.match(error?.message ?? 'taken', why, text);
  }
});

test('a table has its own choices, the others those of all', () => {
  const config = tableSchema.parse({
    location: 'x',
    commit_rows: 7,
    tables: { 'public.a': { collapse: 'none', commit_bytes: '2MB' } },
  });
  const { collapse, commit_rows, commit_bytes } = tableChoices(config, ['public', 'a']);
  assert.deepEqual([collapse, commit_rows, commit_bytes], ['none', 7, 2 << 20]);
  assert.equal(tableChoices(config, ['public', 'b']).collapse, 'transaction');
  assert.match(
    tableSchema.safeParse({ location: 'x', tables: { 'public.a': { location: 'y' } } }).error?.message ?? '',
    /location/,
  );
});
