// The `source:` block: what may be said, what is refused, and what follows from the pipeline's name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { postgresOptions, resolveOptions } from '../../../connectors/postgres/options.ts';

const least = { kind: 'postgres', url: 'postgres://u:p@db:5433/shop', tables: ['public.*'] };
const context = { pipeline: 'shop', log: () => undefined, now: () => 0n };

test('the names of slot and publication follow from the pipeline', () => {
  const settings = resolveOptions(postgresOptions.parse(least), context);
  assert.equal(settings.slot, 'varve_shop');
  assert.deepEqual(settings.publication, { name: 'varve_shop', create: 'auto', pipeline: 'shop' });
  assert.equal(settings.onRewrite, 'stop');
  assert.deepEqual(
    [settings.connection.host, settings.connection.port, settings.connection.database],
    ['db', 5433, 'shop'],
  );
});

test('parts stand for a url, and TLS is checked in full unless less is said', () => {
  const { url: _, ...rest } = least;
  const parts = { ...rest, host: 'db', database: 'shop', user: 'u', tls: { ca: 'PEM' } };
  const { connection } = resolveOptions(postgresOptions.parse(parts), context);
  assert.deepEqual(connection.tls, { verify: 'full', ca: 'PEM' });
});

const REFUSED: [what: string, change: object][] = [
  ['an unknown key', { tabels: [] }],
  ['an unknown key of the publication', { publication: { nmae: 'x' } }],
  ['no tables', { tables: [] }],
  ['a slot name that the server would refuse', { slot: 'Varve-1' }],
  ['a slot name that is too long', { slot: 'x'.repeat(64) }],
  ['a port beyond all ports', { port: 70_000 }],
  ['another policy', { on_rewrite: 'maybe' }],
  ['no address', { url: undefined }],
];

for (const [what, change] of REFUSED) {
  test(`refused: ${what}`, () => {
    assert.equal(postgresOptions.safeParse({ ...least, ...change }).success, false);
  });
}
