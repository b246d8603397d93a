// Owns Kafka as the commands use it: a client and a registry for each end that is opened, closed with it.
// Loaded only for a file that says so, because the registry's client is large.
import type { Config } from '../config.ts';
import type { KafkaTopicConfig } from '../config-topic.ts';
import type { Finding } from '../connector.ts';
import { VarveError } from '../errors.ts';
import { deleteTopics, describeTopic } from '../topic/kafka/admin.ts';
import { KafkaClient } from '../topic/kafka/client.ts';
import { openKafkaFeed } from '../topic/kafka/feed.ts';
import { openKafkaPublisher } from '../topic/kafka/publisher.ts';
import { openRegistry, type Registry } from '../topic/kafka/registry.ts';
import type { SaslSettings } from '../topic/kafka/security.ts';
import { stateTopic } from '../topic/kafka/state-topic.ts';
import { tokenSource } from '../topic/kafka/token.ts';
import { verifySettings } from '../topic/kafka/topic-settings.ts';
import { HOUR_MS } from './command.ts';
import type { TopicKind } from './topic-kind.ts';

const ofKafka = ({ topic }: Config): KafkaTopicConfig => {
  if (topic.kind === 'kafka') return topic;
  throw new VarveError('internal', `A topic of kind ${topic.kind} was opened as a Kafka one.`);
};

const MECHANISMS = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const;

const saslOf = ({ sasl, request_timeout_ms: timeoutMs }: KafkaTopicConfig): SaslSettings | null => {
  if (sasl === null) return null;
  if (sasl.mechanism !== 'oauthbearer') {
    const { username, password } = sasl;
    return { mechanism: MECHANISMS[sasl.mechanism], username, password };
  }
  const { token, token_url: url, client_id: clientId, client_secret: clientSecret, scope } = sasl;
  if (token !== null) return { mechanism: 'OAUTHBEARER', token };
  if (url === null || clientId === null || clientSecret === null)
    throw new VarveError('config_invalid', 'topic.sasl: oauthbearer needs token, or token_url.');
  const issuer = { url, clientId, clientSecret, scope, timeoutMs };
  return { mechanism: 'OAUTHBEARER', token: tokenSource(issuer, Date.now) };
};

const openClient = (config: Config): Promise<KafkaClient> => {
  const topic = ofKafka(config);
  return KafkaClient.open({
    brokers: topic.brokers,
    clientId: `varve-${config.name}`,
    tls: topic.tls,
    sasl: saslOf(topic),
    requestTimeoutMs: topic.request_timeout_ms,
  });
};

const openOwnRegistry = ({ registry }: KafkaTopicConfig): Promise<Registry> => {
  const { url, auth, tls, timeout_ms: timeoutMs, compatibility } = registry;
  return openRegistry({ url, auth, tls, timeoutMs, compatibility });
};

/** Opens an end over a client and a registry that are closed with it, or at once when it does not open. */
const openEnd = async <End extends { close(): Promise<void> }>(
  config: Config,
  open: (client: KafkaClient, registry: Registry) => Promise<End>,
): Promise<End> => {
  const client = await openClient(config);
  const registry = await openOwnRegistry(ofKafka(config));
  const closeBoth = async (): Promise<void> => {
    await registry.close();
    await client.close();
  };
  try {
    const end = await open(client, registry);
    const close = end.close.bind(end);
    end.close = () => close().finally(closeBoth);
    return end;
  } catch (thrown) {
    await closeBoth();
    throw thrown;
  }
};

/** A broker's own topics are never a pipeline's. */
const ownTopics = async (client: KafkaClient, prefix: string): Promise<string[]> => {
  const state = stateTopic(prefix);
  const names = (await client.topics()).filter((name) => name.startsWith(`${prefix}.`));
  // Without a state nothing under the prefix is known to be ours.
  return names.includes(state) ? names : [];
};

const checkTopics = async (config: Config, client: KafkaClient): Promise<Finding[]> => {
  const { prefix } = ofKafka(config);
  const findings: Finding[] = [];
  for (const name of await ownTopics(client, prefix)) {
    const found = await describeTopic(client, name);
    const role = name === stateTopic(prefix) ? 'state' : 'table';
    if (found !== null) findings.push(...verifySettings(name, found, { role, batchBytes: 0 }));
  }
  const what = `Kafka answers; ${findings.length === 0 ? 'no setting of a topic is in the way' : 'its topics:'}`;
  return [{ level: 'ok', what, fix: null }, ...findings];
};

export const kafkaTopic: TopicKind = {
  openPublisher: (config) => {
    const topic = ofKafka(config);
    return openEnd(config, (client, registry) =>
      openKafkaPublisher({
        client,
        registry,
        prefix: topic.prefix,
        delivery: topic.delivery,
        replication: topic.replication,
        retentionMs: topic.retention_hours === null ? null : topic.retention_hours * HOUR_MS,
        transactionTimeoutMs: topic.transaction_timeout_ms,
        patienceMs: Math.min(topic.request_timeout_ms, topic.transaction_timeout_ms / 2),
        now: Date.now,
      }),
    );
  },
  openFeed: (config) =>
    openEnd(config, (client, registry) =>
      openKafkaFeed({ client, prefix: ofKafka(config).prefix, schema: (id) => registry.schema(id) }),
    ),
  findRunner: async () => undefined,
  check: async (config) => {
    const client = await openClient(config);
    try {
      return await checkTopics(config, client);
    } finally {
      await client.close();
    }
  },
  planReset: async (config) => {
    const { prefix } = ofKafka(config);
    const client = await openClient(config);
    const topics = await ownTopics(client, prefix).finally(() => client.close());
    const what = topics.length === 0 ? `no topic of ${prefix}` : topics.join(', ');
    const run = async (): Promise<void> => {
      const other = await openClient(config);
      await deleteTopics(other, topics).finally(() => other.close());
    };
    return { what, run };
  },
};
