// Tokens of an issuer: asked for as the standard says, kept while they last, and never told.
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { type ErrorKind, VarveError } from '../../../src/errors.ts';
import { tokenSource } from '../../../src/topic/kafka/token.ts';

type Said = { status: number; body: string; location?: string };

const issuer = async (answer: (count: number) => Said | null) => {
  const asked: { headers: IncomingMessage['headers']; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    asked.push({ headers: request.headers, body });
    const said = answer(asked.length);
    if (said === null) return;
    response.writeHead(said.status, said.location ? { location: said.location } : {});
    response.end(said.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  let nowMs = 0;
  const settings = { url, clientId: 'varve', clientSecret: 'a:b/c', scope: null, timeoutMs: 1000 };
  return {
    asked,
    url,
    pass: (ms: number) => {
      nowMs += ms;
    },
    ask: (more: object = {}) => tokenSource({ ...settings, ...more }, () => nowMs),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

const given = (token: string, more: object = {}): Said => ({
  status: 200,
  body: JSON.stringify({ access_token: token, token_type: 'Bearer', ...more }),
});

test('a token is asked for with client and secret, and kept for most of its life', async () => {
  await using it = await issuer((count) => given(`t${count}`, { expires_in: 100 }));
  const token = it.ask({ scope: 'kafka' });
  assert.equal(await token(), 't1');
  const basic = Buffer.from('varve:a%3Ab%2Fc').toString('base64');
  assert.equal(it.asked[0]?.headers.authorization, `Basic ${basic}`);
  assert.equal(it.asked[0]?.body, 'grant_type=client_credentials&scope=kafka');
  it.pass(79_000);
  assert.equal(await token(), 't1');
  it.pass(2000);
  assert.equal(await token(), 't2');
});

test('a token whose life nobody tells is used once', async () => {
  await using it = await issuer((count) => given(`t${count}`));
  const token = it.ask();
  assert.deepEqual([await token(), await token()], ['t1', 't2']);
});

test('refusals stop, silence is tried again, other answers are errors; none tells the secret', async () => {
  const cases: [Said | null, ErrorKind][] = [
    [{ status: 401, body: '{"error":"invalid_client"}' }, 'topic_denied'],
    [{ status: 400, body: 'a:b/c' }, 'topic_denied'],
    [{ status: 503, body: '' }, 'topic_unreachable'],
    [{ status: 429, body: '' }, 'topic_unreachable'],
    [{ status: 302, body: '', location: '/other' }, 'topic_unreachable'],
    [{ status: 200, body: '<html>' }, 'protocol_error'],
    [{ status: 200, body: '{"access_token": ""}' }, 'protocol_error'],
    [null, 'topic_unreachable'],
  ];
  for (const [said, kind] of cases) {
    await using it = await issuer(() => said);
    const thrown: unknown = await it
      .ask({ timeoutMs: said === null ? 50 : 1000 })()
      .catch((error) => error);
    assert.ok(thrown instanceof VarveError);
    assert.equal(thrown.kind, kind, thrown.message);
    assert.ok(thrown.message.includes(it.url));
    assert.ok(!inspect(thrown, { depth: 20 }).includes('a:b/c'));
    assert.equal(it.asked.length, 1);
  }
});

test('nobody there', async () => {
  const token = tokenSource(
    { url: 'http://127.0.0.1:1/', clientId: 'c', clientSecret: 's', scope: null, timeoutMs: 1000 },
    () => 0,
  );
  const thrown: unknown = await token().catch((error) => error);
  assert.ok(thrown instanceof VarveError && thrown.kind === 'topic_unreachable');
});
