// Addresses at which the source is not found, not yet, or only by IPv6.
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { isFolded, until } from '../support/polling.ts';
import { startPostgres } from '../support/postgres.ts';
import { amend, assertSameRows, RUN, type Stage, setStage, statusOf, UNTIL } from '../support/stage.ts';

const server = await startPostgres({ major: 17 });
test.after(() => server[Symbol.asyncDispose]());

/** Passes everything on to the server. */
const listenAt = async (host: string, port: number): Promise<Server> => {
  const door = createServer((client) => {
    const upstream = connect(server.port, '127.0.0.1');
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => door.listen(port, host, resolve));
  return door;
};

const portOf = (door: Server): number => (door.address() as AddressInfo).port;

const moveTo = ({ pipeline }: Stage, address: string): Promise<void> =>
  amend(pipeline, `@127.0.0.1:${server.port}`, `@${address}`);

/** Says so, is tried again, and `status` tells it. */
const assertWaits = async (stage: Stage, says: RegExp): Promise<void> => {
  const { state, reason, sentence } = await statusOf(stage.pipeline);
  assert.deepEqual({ state, reason }, { state: 'retrying', reason: 'source_unreachable' });
  assert.match(String(sentence), says);
};

test('a name that nobody knows is tried again, and named', async () => {
  await using stage = await setStage(server);
  await stage.pipeline.run(UNTIL);
  await moveTo(stage, `no-such-host.invalid:${server.port}`);
  const running = stage.pipeline.start(RUN);
  await running.saw(/("kind":"source_unreachable".*\n.*){2}/);
  await assertWaits(stage, /(ENOTFOUND|EAI_AGAIN).*no-such-host\.invalid/);
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
});

test('a port that refuses is tried again, until somebody listens', async () => {
  await using stage = await setStage(server);
  const door = await listenAt('127.0.0.1', 0);
  const port = portOf(door);
  await new Promise((resolve) => door.close(resolve));
  await moveTo(stage, `127.0.0.1:${port}`);
  const running = stage.pipeline.start(RUN);
  await running.saw(/"kind":"source_unreachable"/);
  await assertWaits(stage, new RegExp(`ECONNREFUSED.*127\\.0\\.0\\.1:${port}`));
  const opened = await listenAt('127.0.0.1', port);
  await until(() => isFolded(stage, 20));
  assert.equal((await statusOf(stage.pipeline)).state, 'running');
  running.kill('SIGTERM');
  assert.equal((await running.finished).code, 0);
  await assertSameRows(stage);
  opened.close();
});

test('an address of IPv6 alone serves snapshot and log', async () => {
  await using stage = await setStage(server);
  const door = await listenAt('::1', 0);
  await moveTo(stage, `[::1]:${portOf(door)}`);
  await stage.pipeline.run(UNTIL);
  await stage.sql("insert into items values (500, 'by IPv6')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  door.close();
});
