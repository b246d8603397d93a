// A broker that wants TLS, a client certificate and a password: the pipeline file says how, the whole
// pipeline runs over it, and what is refused is said without the secret.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startKafka } from '../support/kafka.ts';
import { kafkaTopic } from '../support/kafka-stage.ts';
import { startPostgres } from '../support/postgres.ts';
import { startRegistry } from '../support/schema-registry.ts';
import { amend, assertSameRows, setStage, UNTIL } from '../support/stage.ts';

const WRONG = 'not-the-secret-of-varve';

test('TLS with a client certificate and SCRAM-SHA-512, from the file to the table', async () => {
  await using kafka = await startKafka({ security: { tls: true, mtls: true, sasl: 'scram-sha-512' } });
  await using registry = await startRegistry();
  await using server = await startPostgres({ major: 17 });
  const { username, password } = kafka.users[0];
  const topic = kafkaTopic({ brokers: kafka.brokers, registry: registry.url }, [
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the pipeline file's own way to name a file
    'tls: { ca: "${file:ca.pem}", cert: "${file:client.pem}", key: "${file:client.key}" }',
    `sasl: { mechanism: scram-sha-512, username: ${username}, password: ${password} }`,
  ]);
  await using stage = await setStage(server, { topic });
  const { ca = '', cert = '', key = '' } = kafka.tls ?? {};
  for (const [name, text] of Object.entries({ 'ca.pem': ca, 'client.pem': cert, 'client.key': key }))
    await writeFile(join(stage.pipeline.directory, name), text);
  await stage.pipeline.run(UNTIL);
  await stage.sql("insert into items values (100, 'streamed')");
  await stage.pipeline.run(UNTIL);
  await assertSameRows(stage);
  await amend(stage.pipeline, `password: ${password}`, `password: ${WRONG}`);
  const refused = await stage.pipeline.run(UNTIL, 1);
  assert.match(refused.stderr, /SASL|password/i);
  assert.ok(!`${refused.stderr}${refused.stdout}`.includes(WRONG), 'the secret is printed');
  await amend(stage.pipeline, WRONG, password);
  await writeFile(join(stage.pipeline.directory, 'ca.pem'), cert);
  const stranger = await stage.pipeline.run(UNTIL, 1);
  assert.match(stranger.stderr, /certificate/i);
});
