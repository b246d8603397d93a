// The topic and columns of pipeline files: what is filled in, what contradicts itself, what is never printed.
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import type { Config } from '../src/config.ts';
import { loadConfig } from '../src/config-file.ts';
import type { KafkaTopicConfig } from '../src/config-topic.ts';
import { VarveError } from '../src/errors.ts';

const source = z.strictObject({ kind: z.literal('lake') });
const connectors = { kinds: ['lake'], load: async () => source };

const directory = (): string => mkdtempSync(join(tmpdir(), 'varve-config-'));

const load = (rest: object, environment: NodeJS.ProcessEnv = {}, folder = directory()): Promise<Config> => {
  const path = join(folder, 'pipeline.yaml');
  writeFileSync(path, JSON.stringify({ name: 'shop', source: { kind: 'lake' }, ...rest }));
  return loadConfig(path, connectors, environment);
};

const minimal = {
  kind: 'kafka',
  brokers: ['127.0.0.1:9092'],
  registry: { url: 'http://127.0.0.1:8081' },
};

const kafka = async (more: object = {}): Promise<KafkaTopicConfig> => {
  const { topic } = await load({ topic: { ...minimal, ...more } });
  assert.ok(topic.kind === 'kafka');
  return topic;
};

/** Every mistake, by its key. */
const mistakesOf = async (rest: object): Promise<string[]> => {
  const error = await load(rest).then(
    () => assert.fail('a wrong file was accepted'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof VarveError && error.kind === 'config_invalid');
  return error.message.split('\n').map((line) => line.replace(/^.*pipeline\.yaml:\d+: /, ''));
};

const refuse = async (more: object, ...expected: RegExp[]): Promise<void> => {
  const found = await mistakesOf({ topic: { ...minimal, ...more } });
  assert.equal(found.length, expected.length, found.join('\n'));
  for (const words of expected) {
    assert.ok(
      found.some((line) => words.test(line)),
      `${words} is not among:\n${found.join('\n')}`,
    );
  }
};

test('a topic in Kafka needs brokers and a registry; all else has a default that is visible', async () => {
  const { format, ...topic } = await kafka();
  assert.deepEqual(topic, {
    kind: 'kafka',
    brokers: ['127.0.0.1:9092'],
    prefix: 'shop',
    registry: {
      url: 'http://127.0.0.1:8081',
      auth: null,
      tls: null,
      timeout_ms: 10_000,
      subject_strategy: 'topic_name',
      compatibility: null,
      allow_cleartext: false,
    },
    delivery: 'exactly_once',
    partitions: 6,
    partition_overrides: {},
    replication: null,
    retention_hours: null,
    compression: 'zstd',
    tls: null,
    sasl: null,
    oversized: 'stop',
    oversized_overrides: {},
    claim_check: null,
    max_transaction_mb: 64,
    max_transaction_ms: 10_000,
    transaction_timeout_ms: 60_000,
    request_timeout_ms: 30_000,
  });
  assert.deepEqual(format, {
    decimal: 'precise',
    binary: 'bytes',
    time: 'adaptive',
    interval: 'numeric',
    hstore: 'json',
    bigint_unsigned: 'long',
    names: 'avro',
    tombstones: true,
    skip: [],
    unknown_types: 'text',
    key_columns: {},
    transaction_topic: false,
    heartbeat_ms: 0,
  });
  await assert.rejects(load({ topic: { kind: 'kafka' } }), /topic\.brokers: .*\n.*topic\.registry: /);
});

test('the embedded topic has formats as well, and refuses what is for Kafka only', async () => {
  const { topic } = await load({ topic: { format: { decimal: 'string', skip: ['t'] } } });
  assert.equal(topic.kind, 'embedded');
  assert.equal(topic.format.decimal, 'string');
  assert.deepEqual(topic.format.skip, ['t']);
  const [found] = await mistakesOf({ topic: { brokers: ['a:1'] } });
  assert.match(found ?? '', /topic\.brokers: unknown key brokers \(allowed: kind, path, /);
  assert.deepEqual(await mistakesOf({ topic: { kind: 'kafkaa' } }), ['topic.kind: allowed: embedded, kafka']);
});

test('a misspelt key is told what is allowed, however deep it stands', async () => {
  await refuse({ tls: { verifi: true } }, /topic\.tls\.verifi: .*did you mean verify\?/);
  await refuse(
    { registry: { ...minimal.registry, auth: { user: 'u', pasword: 'p' } } },
    /topic\.registry\.auth\.pasword: .*did you mean password\?/,
    /topic\.registry\.auth: user and password, or token/,
  );
  await refuse({ format: { decimel: 'x' } }, /topic\.format\.decimel: .*did you mean decimal\?/);
  await refuse({ format: { time: 'adaptiv' } }, /topic\.format\.time: .*"adaptive"/);
  await refuse(
    { sasl: { mechanism: 'scram-sha-512', username: 'u', passwort: 'p' } },
    /topic\.sasl\.passwort: .*did you mean password\?/,
    /topic\.sasl\.password: password is missing/,
  );
});

test('numbers and names are held to what brokers take', async () => {
  await refuse({ partitions: 0 }, /topic\.partitions: /);
  await refuse({ replication: 0 }, /topic\.replication: /);
  await refuse({ prefix: 'a b' }, /topic\.prefix: letters, digits, \. _ -, at most 100/);
  await refuse(
    { brokers: ['kafka', 'b:99999'] },
    /brokers\.0: host:port/,
    /brokers\.1: a port is 1 to 65535/,
  );
  await refuse({ brokers: [] }, /topic\.brokers: /);
  await refuse({ partition_overrides: { t: 3 } }, /partition_overrides\.t: a table is written schema\.table/);
  await refuse({ format: { skip: ['c', 'c'] } }, /topic\.format\.skip: an operation is named twice/);
  await refuse(
    { transaction_timeout_ms: 10_000 },
    /transaction_timeout_ms: at least twice max_transaction_ms/,
  );
  assert.deepEqual((await kafka({ brokers: ['[::1]:9092'] })).brokers, ['[::1]:9092']);
});

test('certificates: true is the authorities of the system, and no half of a pair goes', async () => {
  const plain = { ca: null, cert: null, key: null, passphrase: null, verify: 'full' };
  assert.deepEqual((await kafka({ tls: true })).tls, plain);
  assert.equal((await kafka({ tls: false })).tls, null);
  assert.deepEqual((await kafka({ tls: { ca: 'PEM' } })).tls, { ...plain, ca: 'PEM' });
  assert.equal((await kafka({ tls: { verify: false } })).tls?.verify, 'none');
  await refuse({ tls: { cert: 'PEM' } }, /topic\.tls\.key: cert needs key/);
  await refuse({ tls: { key: 'PEM' } }, /topic\.tls\.cert: key needs cert/);
  await refuse({ tls: 'yes' }, /topic\.tls: true, false, or \{ca, /);
});

test('a mechanism needs what it proves itself with', async () => {
  await refuse(
    { sasl: { mechanism: 'gssapi' } },
    /sasl\.mechanism: mechanism is one of plain, scram-sha-256/,
  );
  await refuse(
    { sasl: { mechanism: 'plain' } },
    /topic\.sasl\.username: username is missing/,
    /topic\.sasl\.password: password is missing/,
  );
  await refuse({ sasl: { mechanism: 'oauthbearer' } }, /topic\.sasl\.token: oauthbearer needs token, or/);
  const token_url = 'https://issuer/token';
  await refuse(
    { sasl: { mechanism: 'oauthbearer', token_url } },
    /topic\.sasl\.token_url: token_url needs client_id and client_secret/,
  );
  const asked = { mechanism: 'oauthbearer', token_url, client_id: 'c', client_secret: 's' };
  assert.equal((await kafka({ sasl: asked })).sasl?.mechanism, 'oauthbearer');
});

test('no password goes unencrypted to another machine unless the file says so', async () => {
  const sasl = { mechanism: 'plain', username: 'u', password: 'p' };
  const far = { brokers: ['127.0.0.1:9092', 'kafka:9092'] };
  await refuse({ ...far, sasl }, /topic\.sasl: would send this secret unencrypted/);
  assert.ok((await kafka({ ...far, sasl, tls: true })).sasl);
  assert.ok((await kafka({ ...far, sasl: { ...sasl, allow_cleartext: true } })).sasl);
  assert.ok((await kafka({ sasl })).sasl);
  assert.ok((await kafka({ ...far, sasl: { ...sasl, mechanism: 'scram-sha-256' } })).sasl);
  const auth = { user: 'u', password: 'p' };
  await refuse({ registry: { url: 'http://registry:8081', auth } }, /registry\.auth: http:\/\/ would send/);
  assert.ok((await kafka({ registry: { url: 'https://registry:8081', auth } })).registry.auth);
  const token_url = 'http://issuer/token';
  await refuse(
    { sasl: { mechanism: 'oauthbearer', token_url, client_id: 'c', client_secret: 's' } },
    /sasl\.token_url: http:\/\/ would send/,
  );
});

test('a registry has an address, and one way to prove who we are', async () => {
  await refuse({ registry: { url: 'registry:8081' } }, /registry\.url: the address of a schema registry/);
  await refuse({ registry: { url: 'http://u:p@127.0.0.1' } }, /registry\.url: .*belong under auth/);
  await refuse({ registry: { ...minimal.registry, tls: true } }, /registry\.tls: tls needs .*https:/);
  const auth = { user: 'u', password: 'p', token: 't' };
  await refuse({ registry: { ...minimal.registry, auth } }, /registry\.auth\.token: .*not both/);
  await refuse({ registry: { ...minimal.registry, compatibility: 'NONE' } }, /registry\.compatibility: /);
});

test('claim_check needs a place, which is beside the file', async () => {
  await refuse({ oversized: 'claim_check' }, /topic\.oversized: claim_check needs claim_check/);
  await refuse({ oversized_overrides: { 'public.t': 'claim_check' } }, /topic\.oversized: claim_check needs/);
  const folder = directory();
  const place = async (location: string): Promise<string | undefined> => {
    const topic = { ...minimal, oversized: 'claim_check', claim_check: { location } };
    const config = await load({ topic }, {}, folder);
    return config.topic.kind === 'kafka' ? config.topic.claim_check?.location : undefined;
  };
  assert.equal(await place('./large'), join(folder, 'large'));
  assert.equal(await place('s3://bucket/large'), 's3://bucket/large');
});

test('where claim_check keeps values is a place that can be opened', async () => {
  const claims = (claim_check: object): object => ({ oversized: 'claim_check', claim_check });
  await refuse(claims({ location: 'gs://bucket' }), /claim_check\.location: a directory, or s3:/);
  await refuse(claims({ location: 's3://B' }), /claim_check\.location: "B" is no name of a bucket/);
  const s3 = { endpoint: 'http://127.0.0.1:9000' };
  await refuse(claims({ location: './x', s3 }), /claim_check\.s3: only where location is s3:/);
  const { topic } = await load({ topic: { ...minimal, ...claims({ location: 's3://bucket/x', s3 }) } });
  assert.deepEqual(topic.kind === 'kafka' && topic.claim_check, { location: 's3://bucket/x', s3 });
});

test('rules of columns', async () => {
  const { columns } = await load({
    columns: {
      'public.t.secret': 'drop',
      'public.t.card': { mask: 12 },
      'public.t.name': { truncate: 4 },
      'public.t.a.b': { hash: 'sha-256', salt: 'pepper' },
    },
  });
  assert.deepEqual(columns, {
    'public.t.secret': { rule: 'drop' },
    'public.t.card': { rule: 'mask', length: 12 },
    'public.t.name': { rule: 'truncate', length: 4 },
    'public.t.a.b': { rule: 'hash', algorithm: 'sha-256', salt: 'pepper' },
  });
  const wrong: [string, unknown, RegExp][] = [
    ['t.c', 'drop', /columns\.t\.c: a column is written schema\.table\.column/],
    ['s.t.c', 'dorp', /columns\.s\.t\.c: drop, \{mask: characters\}/],
    ['s.t.c', { maks: 1 }, /columns\.s\.t\.c\.maks: .*did you mean mask\?/],
    ['s.t.c', { mask: 1, truncate: 2 }, /columns\.s\.t\.c: exactly one rule/],
    ['s.t.c', { mask: 'x' }, /columns\.s\.t\.c\.mask: .*number/],
    ['s.t.c', { hash: 'sha-256' }, /columns\.s\.t\.c\.salt: hash needs salt/],
    ['s.t.c', { mask: 1, salt: 'x' }, /columns\.s\.t\.c\.salt: salt is for hash only/],
  ];
  for (const [column, rule, words] of wrong) {
    assert.match((await mistakesOf({ columns: { [column]: rule } }))[0] ?? '', words);
  }
});

test('passwords, tokens, keys and salts are secret; names of columns and addresses are not', async () => {
  const config = await load(
    {
      topic: {
        ...minimal,
        registry: { url: 'https://registry', auth: { token: 'secret-token' } },
        tls: { cert: 'CERT', key: 'secret-key', key_password: 'secret-lock' },
        sasl: {
          mechanism: 'oauthbearer',
          token_url: 'https://issuer/token',
          client_id: 'varve',
          client_secret: `\${env:CLIENT_SECRET}`,
        },
      },
      columns: { 'public.t.password': 'drop', 'public.t.b': { hash: 'md5', salt: 'secret-salt' } },
    },
    { CLIENT_SECRET: 'secret-client' },
  );
  const expected = ['secret-client', 'secret-key', 'secret-lock', 'secret-salt', 'secret-token'];
  assert.deepEqual([...config.secrets].sort(), expected);
});
