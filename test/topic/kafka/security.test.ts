// A broker that lets us in without knowing our password is an impostor; one that answers nonsense is not
// believed. Against a broker made of a few lines, because a real one does neither.
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { KafkaClient, type KafkaSettings } from '../../../src/topic/kafka/client.ts';
import type { SaslSettings } from '../../../src/topic/kafka/security.ts';

const [VERSIONS, HANDSHAKE, AUTHENTICATE] = [18, 17, 36];

const int16 = (value: number): Buffer => Buffer.from([(value >> 8) & 255, value & 255]);
const int32 = (value: number): Buffer => Buffer.concat([int16(value >> 16), int16(value)]);
const int64 = (value: bigint): Buffer => Buffer.concat([int32(Number(value >> 32n)), int32(Number(value))]);
const text = (value: string): Buffer => Buffer.concat([int16(value.length), Buffer.from(value)]);
const bytes = (value: string): Buffer => Buffer.concat([int32(value.length), Buffer.from(value)]);

/** Plain, version 1 framing: SaslAuthenticate at most 1, so that nothing has tagged fields. */
const versions = Buffer.concat([int16(0), int32(1), ...[AUTHENTICATE, 0, 1].map(int16), int32(0)]);

type Says = (asked: string, turn: number) => string;

/** Answers the messages of a SASL exchange by `says`, and hangs up on anything else. */
const startFake = async (mechanism: string, says: Says) => {
  const serve = (socket: Socket): void => {
    let turn = 0;
    socket.on('error', () => socket.destroy());
    socket.on('data', (request) => {
      const [key, id, clientId] = [request.readInt16BE(4), request.subarray(8, 12), request.readInt16BE(12)];
      const body = request.subarray(14 + clientId);
      const answers: Readonly<Record<number, () => Buffer>> = {
        [VERSIONS]: () => versions,
        [HANDSHAKE]: () => Buffer.concat([int16(0), int32(1), text(mechanism)]),
        [AUTHENTICATE]: () =>
          Buffer.concat([int16(0), int16(-1), bytes(says(body.subarray(4).toString(), turn++)), int64(0n)]),
      };
      const answer = answers[key]?.();
      if (!answer) return socket.destroy();
      socket.write(Buffer.concat([int32(answer.length + 4), id, answer]));
    });
  };
  const server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    brokers: [`127.0.0.1:${(server.address() as AddressInfo).port}`],
    [Symbol.dispose]: () => void server.close(),
  };
};

const refused = async (mechanism: SaslSettings['mechanism'], says: Says, message: RegExp): Promise<void> => {
  using fake = await startFake(mechanism, says);
  const sasl = { mechanism, username: 'varve', password: 'secret', token: 'secret' } as SaslSettings;
  await assert.rejects(KafkaClient.open({ brokers: fake.brokers, clientId: 'varve-test', sasl }), (error) => {
    assert.ok(error instanceof VarveError);
    assert.equal(error.kind, 'topic_denied', error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(`${error.message} ${error.stack} ${error.cause}`, /secret/);
    return true;
  });
};

const nonceOf = (asked: string): string => /r=([^,]+)/.exec(asked)?.[1] ?? '';
const salt = Buffer.from('salt').toString('base64');

test('SCRAM: who cannot prove to know the password is not believed', async () => {
  const forged = Buffer.alloc(64).toString('base64');
  const says: Says = (asked, turn) =>
    turn === 0 ? `r=${nonceOf(asked)}server,s=${salt},i=4096` : `v=${forged}`;
  await refused('SCRAM-SHA-512', says, /signature/);
  await refused('SCRAM-SHA-256', says, /signature/);
});

test('SCRAM: a nonce that is not built on ours is not believed', async () => {
  await refused('SCRAM-SHA-256', () => `r=replayed,s=${salt},i=4096`, /nonce/);
});

test('SCRAM: too few iterations would give the password away', async () => {
  await refused('SCRAM-SHA-256', (asked) => `r=${nonceOf(asked)}x,s=${salt},i=1`, /iterations/);
});

test('SCRAM: an answer that lacks its parts is an error, not a crash', async () => {
  await refused('SCRAM-SHA-256', () => 'e=other-error', /did not follow/);
  await refused('SCRAM-SHA-256', () => '', /Malformed|did not follow/);
});

test('OAUTHBEARER: a refusal without an error code is one all the same', async () => {
  await refused('OAUTHBEARER', () => '{"status":"invalid_token"}', /does not accept the token/);
});

test('settings that cannot work are refused before anything is sent, without their content', async () => {
  const settings: readonly [KafkaSettings['tls'], KafkaSettings['sasl'], RegExp][] = [
    [{ ca: 'secret' }, null, /tls\.ca/],
    [{ cert: 'secret', key: 'secret' }, null, /tls\.cert/],
    [{ key: 'secret' }, null, /both cert and key/],
    [null, { mechanism: 'PLAIN', username: 'varve', password: '' }, /username and a password/],
    [null, { mechanism: 'SCRAM-SHA-256', username: 'a,b,c', password: 'secret' }, /commas/],
  ];
  for (const [tls = null, sasl = null, says] of settings) {
    const opened = KafkaClient.open({ brokers: ['127.0.0.1:1'], clientId: 'varve-test', tls, sasl });
    await assert.rejects(opened, (error) => {
      assert.ok(error instanceof VarveError);
      assert.equal(error.kind, 'config_invalid');
      assert.match(error.message, says);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});
