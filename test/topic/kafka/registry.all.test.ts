// The registry against a real one: ids, levels, refusals, and its going and coming back.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { openRegistry, type Registry, type RegistrySettings } from '../../../src/topic/kafka/registry.ts';
import { startRegistry } from '../../support/schema-registry.ts';

let server: Awaited<ReturnType<typeof startRegistry>>;
before(async () => {
  server = await startRegistry();
});
after(() => server[Symbol.asyncDispose]());

type Level = RegistrySettings['compatibility'];

const open = (compatibility: Level = null, timeoutMs = 5000): Promise<Registry> =>
  openRegistry({ url: server.url, auth: null, tls: null, timeoutMs, patienceMs: 20_000, compatibility });

const field = (name: string, type: unknown, more: object = {}) => ({ name, type, ...more });

/** As the publisher writes them: a record in a record, named again further down. */
const envelope = (fields: object[]): string => {
  const value = { type: 'record', name: 'Value', fields, 'connect.name': 'shop.public.t.Value' };
  return JSON.stringify({
    type: 'record',
    name: 'Envelope',
    namespace: 'shop.public.t',
    fields: [
      field('before', ['null', value], { default: null }),
      field('after', ['null', 'Value'], { default: null }),
    ],
  });
};

const kindOf = (thrown: unknown): string => {
  assert.ok(thrown instanceof VarveError, String(thrown));
  return thrown.kind;
};

const ID = field('id', { type: 'int', 'connect.default': 0 }, { default: 0 });
const NOTE = field('note', ['null', 'string'], { default: null });

test('an id is found again by another process, and leads back to the text', async () => {
  const [one, other] = [await open(), await open()];
  const subject = 'shop.public.größe/1-value';
  const id = await one.register(subject, envelope([ID]));
  assert.equal(await other.register(subject, envelope([ID])), id);
  assert.equal(await other.schema(id), envelope([ID]));
  assert.equal(await one.register('shop.public.u-value', envelope([ID])), id);
  assert.notEqual(await one.register(subject, envelope([ID, NOTE])), id);
  await Promise.all([one.close(), other.close()]);
});

test('the level asked for is in force from the first schema on, and is respected', async () => {
  const registry = await open('FULL_TRANSITIVE');
  const subject = 'shop.public.levels-value';
  await registry.register(subject, envelope([ID]));
  assert.equal(await registry.compatibility(subject), 'FULL_TRANSITIVE');
  await registry.register(subject, envelope([ID, NOTE]));
  const refused = await registry
    .register(subject, envelope([field('id', 'string')]))
    .catch((thrown: unknown) => thrown);
  assert.equal(kindOf(refused), 'schema_incompatible');
  assert.match(String(refused), /levels-value: .*compatibility is FULL_TRANSITIVE/);
  assert.match(String(refused), /reader union lacking writer type/);
  // Blocked is the one schema, and nothing was set to make it pass.
  assert.equal(await registry.compatibility(subject), 'FULL_TRANSITIVE');
  assert.ok((await registry.register('shop.public.other-value', envelope([ID]))) > 0);
  await registry.close();
});

test('an id that nobody gave out, and a text that is no schema', async () => {
  const registry = await open();
  assert.equal(kindOf(await registry.schema(4_711_000).catch((thrown) => thrown)), 'schema_unknown');
  const refused = await registry
    .register('shop.public.bad-value', '{"type": "rec"}')
    .catch((thrown) => thrown);
  assert.equal(kindOf(refused), 'schema_incompatible');
  await registry.close();
});

test('frozen, killed and back: what is known goes on, what is new waits', async () => {
  const registry = await open(null, 300);
  const subject = 'shop.public.outage-value';
  const id = await registry.register(subject, envelope([ID]));
  server.pause();
  const waiting = registry.register(subject, envelope([ID, NOTE]));
  assert.equal(await registry.register(subject, envelope([ID])), id);
  assert.equal(await registry.schema(id), envelope([ID]));
  server.resume();
  const next = await waiting;
  await server.kill();
  const fresh = await open();
  const found = fresh.register(subject, envelope([ID, NOTE]));
  assert.equal(await registry.register(subject, envelope([ID])), id);
  await server.restart();
  assert.equal(await found, next);
  await Promise.all([registry.close(), fresh.close()]);
});
