// Owns the oracle's table as an independent reader prints it: its lines as versions of keys.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { canonicalImage, type FoundVersion, LEDGER_COLUMNS } from './oracle.ts';

type JsonRow = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

const image = (row: JsonRow): readonly (string | null)[] =>
  LEDGER_COLUMNS.map((name) => {
    const value = row[name] ?? null;
    if (value === null) return null;
    if (name === 'big') return createHash('md5').update(String(value)).digest('hex');
    return String(value).replace(/Z$/, '');
  });

/** By key, in the order of the table. */
export const versionsOf = (lines: readonly string[]): Map<string, FoundVersion[]> => {
  const rows = lines.map((line) => JSON.parse(line) as JsonRow);
  rows.sort((a, b) => (String(a._order) < String(b._order) ? -1 : 1));
  const found = new Map<string, FoundVersion[]>();
  for (const row of rows) {
    const versions = found.get(String(row.id)) ?? [];
    const closedBy = (row._closed_by ?? null) as string | null;
    assert.equal(row.is_current, closedBy === null);
    versions.push({ image: canonicalImage(image(row)), closedBy, op: String(row._op) });
    found.set(String(row.id), versions);
  }
  return found;
};
