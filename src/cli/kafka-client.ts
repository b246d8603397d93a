// Owns the way to a file's brokers and registry: a client and a registry for each end that is opened, closed
// with it. Knows no topic.
import type { Config } from '../config.ts';
import type { KafkaTopicConfig } from '../config-topic.ts';
import { VarveError } from '../errors.ts';
import { KafkaClient } from '../topic/kafka/client.ts';
import { openRegistry, type Registry } from '../topic/kafka/registry.ts';
import type { SaslSettings } from '../topic/kafka/security.ts';
import { tokenSource } from '../topic/kafka/token.ts';

export const ofKafka = ({ topic }: Config): KafkaTopicConfig => {
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

export const openClient = (config: Config): Promise<KafkaClient> => {
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
export const openEnd = async <End extends { close(): Promise<void> }>(
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
