// The keys that say how a table's files are laid out: what is taken, what stands when nothing is said, what
// is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tableChoices, tableSchema } from '../src/config-table.ts';

const parse = (more: object = {}) => tableSchema.parse({ location: '/t', ...more });

test('what stands when nothing is said', () => {
  const { target_file_size, compression, bucket_by, buckets, partition_by, owner, tags } = parse();
  assert.deepEqual(
    { target_file_size, compression, bucket_by, buckets, partition_by, owner, tags },
    {
      target_file_size: 128 << 20,
      compression: 'zstd',
      bucket_by: 'auto',
      buckets: 'auto',
      partition_by: [],
      owner: undefined,
      tags: {},
    },
  );
});

test('a single table is laid out otherwise than all', () => {
  const config = parse({
    compression: 'snappy',
    tags: { domain: 'shop' },
    tables: { 'public.t': { partition_by: ['day(at)'], buckets: 16, tags: { pii: 'yes' } } },
  });
  const own = tableChoices(config, ['public', 't']);
  assert.deepEqual(
    [own.compression, own.buckets, own.partition_by, own.tags],
    ['snappy', 16, ['day(at)'], { pii: 'yes' }],
  );
  const other = tableChoices(config, ['public', 'u']);
  assert.deepEqual([other.buckets, other.partition_by, other.tags], ['auto', [], { domain: 'shop' }]);
});

test('what is no codec, no count, no size and no tag is refused', () => {
  const wrong = [
    { compression: 'brotli' },
    { buckets: 0 },
    { buckets: 'many' },
    { buckets: 4096 },
    { target_file_size: '10KB' },
    { partition_by: 'day(at)' },
    { partition_by: [''] },
    { tags: { 'with space': 'x' } },
    { owner: '' },
  ];
  for (const one of wrong) assert.equal(tableSchema.safeParse({ location: '/t', ...one }).success, false);
});
