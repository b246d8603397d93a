// Owns the `columns:` part of a pipeline file: what of a column may leave the source. Knows no table; who
// applies the rules finds out whether the columns exist.
import { z } from 'zod';
import type { ColumnRule } from './topic/format.ts';

const HASHES = ['sha-256', 'sha-384', 'sha-512', 'sha-224', 'sha-1', 'md5'] as const;

const ALLOWED = 'drop, {mask: characters}, {truncate: characters} or {hash: sha-256, salt: ...}';

const change = z
  .strictObject({
    mask: z.number().int().min(0).max(100_000).optional().describe('That many asterisks for each value.'),
    truncate: z.number().int().min(1).max(1_000_000).optional().describe('The first so many characters.'),
    hash: z.enum(HASHES).optional().describe('The digest of salt and value.'),
    salt: z.string().min(1).optional().describe('What hash mixes in; best a reference.'),
  })
  .refine(
    ({ mask, truncate, hash }) => [mask, truncate, hash].filter((it) => it !== undefined).length === 1,
    {
      message: `exactly one rule: ${ALLOWED}`,
    },
  )
  .refine(({ hash, salt }) => hash === undefined || salt !== undefined, {
    message: 'hash needs salt: without it, common values are found by trying',
    path: ['salt'],
  })
  .refine(({ hash, salt }) => salt === undefined || hash !== undefined, {
    message: 'salt is for hash only',
    path: ['salt'],
  });

const toRule = (said: 'drop' | z.output<typeof change>): ColumnRule => {
  if (said === 'drop') return { rule: 'drop' };
  if (said.mask !== undefined) return { rule: 'mask', length: said.mask };
  if (said.truncate !== undefined) return { rule: 'truncate', length: said.truncate };
  return { rule: 'hash', algorithm: said.hash ?? 'sha-256', salt: said.salt ?? '' };
};

/** By `schema.table.column`. */
export const columnsSchema = z
  .record(
    z.string().regex(/^[^.]+\.[^.]+\..+$/s, 'a column is written schema.table.column'),
    z.union([z.literal('drop'), change], ALLOWED).transform(toRule),
  )
  .default({})
  .describe('What of single columns is left out, masked, cut or hashed before anything is stored.');
