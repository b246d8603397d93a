// TLS and SASL against real brokers: who is let in, who is not, and that a refusal is a sentence for the
// operator which holds no secret.
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { suite, test } from 'node:test';
import { VarveError } from '../../../src/errors.ts';
import { createTopic, deleteTopics } from '../../../src/topic/kafka/admin.ts';
import { KafkaClient } from '../../../src/topic/kafka/client.ts';
import type { SaslSettings, TlsSettings } from '../../../src/topic/kafka/security.ts';
import { type SecureBroker, sharedKafka, startKafka } from '../../support/kafka.ts';
import type { KafkaSecurity } from '../../support/kafka-security.ts';

type Wanted = { tls?: TlsSettings | null; sasl?: SaslSettings; brokers?: readonly string[] };
type Reached = { readonly brokers: readonly string[]; readonly tls?: TlsSettings | null };

const VERSIONS = { key: 18, version: 0, flexible: false } as const;

const open = (broker: Reached, wanted: Wanted = {}): Promise<KafkaClient> => {
  const { tls = broker.tls ?? null, sasl = null, brokers = broker.brokers } = wanted;
  return KafkaClient.open({ brokers, clientId: 'varve-test', tls, sasl });
};

const refused = async (client: Promise<KafkaClient>, says: RegExp, kind = 'topic_denied'): Promise<void> => {
  const thrown = await client.then(
    (opened) => opened.close().then(() => assert.fail('it was let in')),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof VarveError, String(thrown));
  assert.equal(thrown.kind, kind, thrown.message);
  assert.match(thrown.message, says);
  const all = [thrown.message, thrown.stack, JSON.stringify(thrown.facts), String(thrown.cause)].join('\n');
  assert.doesNotMatch(all, /secret|wr0ng/);
};

const asked = async (client: KafkaClient): Promise<void> => {
  assert.equal((await client.request(1, VERSIONS, () => undefined)).readInt16(), 0);
};

/** The broker under an address for which its certificate was not made. */
const otherName = async (target: string): Promise<{ server: Server; address: string }> => {
  const server = createServer((near) => {
    const far = connect(Number(target.split(':')[1]), '127.0.0.1');
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.2', resolve));
  return { server, address: `127.0.0.2:${(server.address() as AddressInfo).port}` };
};

const passwordOf = ({ users: [user] }: SecureBroker, mechanism: KafkaSecurity['sasl']): SaslSettings => ({
  mechanism: mechanism?.toUpperCase() as 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512',
  ...user,
});

suite('TLS', () => {
  test('with the right authority; the wrong one, none, or no TLS are refused', async () => {
    await using broker = await startKafka({ security: { tls: true } });
    await using client = await open(broker);
    await asked(client);
    await refused(open(broker, { tls: {} }), /UNABLE_TO_VERIFY|SELF_SIGNED.*tls\.ca/);
    await using stranger = await startKafka({ security: { tls: true } });
    await refused(open(broker, { tls: stranger.tls }), /not trusted/);
    await refused(open(broker, { tls: null }), /speaks TLS only/);
    await using blind = await open(broker, { tls: { verify: 'none' } });
    await asked(blind);
  });

  test('a certificate for another name is refused, unless only the authority is to be checked', async () => {
    await using broker = await startKafka({ security: { tls: true } });
    const { server, address } = await otherName(broker.brokers[0] ?? '');
    try {
      const brokers = [address];
      await refused(open(broker, { brokers }), /for another name/);
      await using client = await open(broker, { brokers, tls: { ...broker.tls, verify: 'ca' } });
      await asked(client);
      await refused(open(broker, { brokers, tls: { verify: 'ca' } }), /not trusted/);
    } finally {
      server.close();
    }
  });

  test('a host name is told to the broker, and checked', async () => {
    await using broker = await startKafka({ security: { tls: true } });
    const brokers = [(broker.brokers[0] ?? '').replace('127.0.0.1', 'localhost')];
    await using client = await open(broker, { brokers });
    await asked(client);
  });

  test('a broker that wants a client certificate says so', async () => {
    await using broker = await startKafka({ security: { tls: true, mtls: true } });
    await using client = await open(broker);
    await asked(client);
    const ca = broker.tls?.ca ?? '';
    await refused(open(broker, { tls: { ca } }), /client certificate/);
    await refused(
      open(broker, { tls: { ca, cert: broker.tls?.cert ?? '' } }),
      /both cert and key/,
      'config_invalid',
    );
  });

  test('a broker without TLS cannot be reached with it, and the sentence says why', async () => {
    await refused(open(await sharedKafka(), { tls: {} }), /listener without TLS/, 'topic_unreachable');
  });
});

suite('SASL', () => {
  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
    test(`${mechanism}: the right password, a wrong one, an unknown user, none`, async () => {
      await using broker = await startKafka({ security: { tls: true, sasl: mechanism } });
      const sasl = passwordOf(broker, mechanism);
      await using client = await open(broker, { sasl });
      await asked(client);
      await refused(open(broker, { sasl: { ...sasl, password: 'wr0ng' } as SaslSettings }), /user, password/);
      await refused(
        open(broker, { sasl: { ...sasl, username: 'nobody' } as SaslSettings }),
        /user, password/,
      );
      const other = mechanism === 'plain' ? 'scram-sha-256' : 'plain';
      await refused(open(broker, { sasl: passwordOf(broker, other) }), /mechanism/);
      await refused(open(broker), /wants SASL/, 'topic_unreachable');
    });
  }

  test('oauthbearer: a token, a fresh one for every connection, an expired one, none to be had', async () => {
    await using broker = await startKafka({ security: { tls: true, sasl: 'oauthbearer' } });
    const mechanism = 'OAUTHBEARER';
    await using client = await open(broker, { sasl: { mechanism, token: broker.token('varve') } });
    await asked(client);
    let given = 0;
    const token = async (): Promise<string> => broker.token(`varve-${++given}`);
    await using renewing = await open(broker, { sasl: { mechanism, token } });
    renewing.drop();
    await asked(renewing);
    assert.equal(given, 2);
    await refused(open(broker, { sasl: { mechanism, token: broker.token('varve', -60) } }), /token/);
    const none = (): Promise<string> => Promise.reject(new Error('issuer is down'));
    await refused(
      open(broker, { sasl: { mechanism, token: none } }),
      /could not be had/,
      'topic_unreachable',
    );
  });

  test('a user without rights is told what it may not do', async () => {
    const settings = {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users': 'User:varve;User:ANONYMOUS',
    };
    await using broker = await startKafka({ security: { tls: true, sasl: 'plain' }, settings });
    const [user, guest] = broker.users;
    const wanted = { partitions: 1, replication: null, config: {} };
    await using owner = await open(broker, { sasl: { mechanism: 'PLAIN', ...user } });
    await createTopic(owner, 'shop', wanted);
    await using client = await open(broker, { sasl: { mechanism: 'PLAIN', ...guest } });
    assert.deepEqual(await client.topics(), []);
    const denied = (promise: Promise<unknown>, name: string): Promise<void> =>
      assert.rejects(promise, (error) => {
        assert.ok(error instanceof VarveError);
        assert.deepEqual([error.kind, error.facts.error], ['topic_denied', name]);
        return true;
      });
    await denied(client.topic('shop'), 'TOPIC_AUTHORIZATION_FAILED');
    await denied(createTopic(client, 'other', wanted), 'TOPIC_AUTHORIZATION_FAILED');
    await denied(deleteTopics(client, ['shop']), 'TOPIC_AUTHORIZATION_FAILED');
    await denied(client.coordinator('x', 'transaction'), 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED');
  });

  test('a session that the broker would end is renewed between two requests, and none is lost', async () => {
    const settings = { 'listener.name.client.scram-sha-512.connections.max.reauth.ms': '1500' };
    await using broker = await startKafka({ security: { tls: true, sasl: 'scram-sha-512' }, settings });
    await using client = await open(broker, { sasl: passwordOf(broker, 'scram-sha-512') });
    const endMs = performance.now() + 5000;
    const order: number[] = [];
    let next = 0;
    const stream = async (): Promise<void> => {
      while (performance.now() < endMs) {
        const at = next++;
        await asked(client);
        order.push(at);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    await Promise.all(Array.from({ length: 5 }, stream));
    assert.deepEqual(order, [...order.keys()]);
  });
});
