// Owns the keys of a table that say how its files are laid out, and what its metadata tells of it to
// catalogs. Which of them a table's columns can bear is the table's to say.
import { z } from 'zod';
import { size } from './config-size.ts';

/** Without defaults: what a single table may say otherwise. */
export const fileChoices = {
  target_file_size: size('1MB', '4GB').describe('Files are merged until they are about this large.'),
  compression: z.enum(['zstd', 'snappy', 'lz4', 'gzip', 'none']).describe('How new data files are packed.'),
  bucket_by: z.string().min(1).describe('The key column that buckets are made of; auto; or none.'),
  buckets: z
    .union([z.literal('auto'), z.number().int().min(1).max(1024)])
    .describe('How many buckets; auto: as the rows need, and more as they grow.'),
  partition_by: z
    .array(z.string().min(1))
    .max(8)
    .describe('More partition columns: column, day(column) or hour(column).'),
  owner: z.string().min(1).max(200).describe('Who the table belongs to, for catalogs.'),
  tags: z
    .record(z.string().regex(/^[A-Za-z0-9_.-]{1,100}$/, 'letters, digits, _, . and -'), z.string().max(1000))
    .describe('Properties of the table for catalogs, as varve.tag.<name>.'),
};

export const fileDefaults = {
  target_file_size: fileChoices.target_file_size.prefault('128MB'),
  compression: fileChoices.compression.default('zstd'),
  bucket_by: fileChoices.bucket_by.default('auto'),
  buckets: fileChoices.buckets.default('auto'),
  partition_by: fileChoices.partition_by.default([]),
  owner: fileChoices.owner.optional(),
  tags: fileChoices.tags.default({}),
};
