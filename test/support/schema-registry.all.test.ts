// That the schema registry of the tests is one: it keeps schemas, also over a stop and a kill, and a line in
// front of it can make it slow or silent.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startRegistry } from './schema-registry.ts';
import { startProxy } from './tcp-proxy.ts';

const schema = JSON.stringify({ type: 'record', name: 'item', fields: [{ name: 'id', type: 'int' }] });
const json = { 'content-type': 'application/vnd.schemaregistry.v1+json' };

const ask = async (url: string, body?: object): Promise<Record<string, unknown>> => {
  const request = body ? { method: 'POST', headers: json, body: JSON.stringify(body) } : {};
  const answer = await fetch(url, { ...request, signal: AbortSignal.timeout(20_000) });
  assert.ok(answer.ok, `${url}: ${answer.status}`);
  return (await answer.json()) as Record<string, unknown>;
};

const registry = await startRegistry();
after(() => registry[Symbol.asyncDispose]());

test('gives a schema back by its id, and knows it again', async () => {
  const { id } = await ask(`${registry.url}/subjects/a-value/versions`, { schema });
  assert.deepEqual(
    JSON.parse(String((await ask(`${registry.url}/schemas/ids/${id}`)).schema)),
    JSON.parse(schema),
  );
  assert.equal((await ask(`${registry.url}/subjects/b-value/versions`, { schema })).id, id);
});

test('comes back on its port with its ids, after a kill and after a stop', async () => {
  const { id } = await ask(`${registry.url}/subjects/c-value/versions`, { schema });
  await registry.kill();
  await assert.rejects(ask(`${registry.url}/schemas/ids/${id}`));
  await registry.restart();
  assert.equal((await ask(`${registry.url}/subjects/c-value/versions/1`)).id, id);
  await registry.stop();
  await registry.restart();
  assert.equal((await ask(`${registry.url}/subjects/c-value/versions/1`)).id, id);
});

test('behind a line it can be slow, or silent', async () => {
  const line = await startProxy(registry.port, { delayMs: 100 });
  const url = `http://127.0.0.1:${line.port}/apis/ccompat/v7/subjects`;
  assert.ok((await fetch(url)).ok);
  line.freeze();
  await assert.rejects(fetch(url, { signal: AbortSignal.timeout(500) }), { name: 'TimeoutError' });
  line.close();
});

test('frozen it says nothing, and goes on afterwards', async () => {
  registry.pause();
  await assert.rejects(fetch(`${registry.url}/subjects`, { signal: AbortSignal.timeout(500) }));
  registry.resume();
  assert.ok((await fetch(`${registry.url}/subjects`)).ok);
});
