// Owns the `topic:` part of a pipeline file: where changes are published, how, and in which format. Knows
// the words of the file and which of them contradict each other; opens nothing and reaches nobody.
import { z } from 'zod';
import { place, s3Choices } from './config-place.ts';
import { isS3 } from './sinks/parquet/s3-place.ts';
import type { Formats } from './topic/format.ts';

const LOOPBACK_HOST = /^(127\.\d+\.\d+\.\d+|localhost|::1)$/;
const BROKER = /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/;
const TABLE = /^[^.]+\..+$/s;

/** By table: `schema.table`, as the source writes it. */
const byTable = <Value extends z.ZodType>(value: Value) =>
  z.record(z.string().regex(TABLE, 'a table is written schema.table'), value);

export const CLEARTEXT =
  'would send this secret unencrypted over the network. Add encryption, or say allow_cleartext: true if ' +
  'the network is trusted with it';

export const allowCleartext = z
  .boolean()
  .default(false)
  .describe('true: secrets may go unencrypted over the network. Not needed for loopback addresses.');

const tlsParts = z
  .strictObject({
    ca: z.string().min(1).nullable().default(null).describe("PEM text of the authority; null: the system's."),
    cert: z.string().min(1).nullable().default(null).describe('PEM text of our own certificate.'),
    key: z.string().min(1).nullable().default(null).describe('PEM text of its private key.'),
    key_password: z.string().min(1).nullable().default(null).describe('What its private key is locked with.'),
    verify: z.boolean().default(true).describe('false: encrypted, but to anybody who answers.'),
  })
  .refine(({ cert, key }) => cert === null || key !== null, {
    message: 'cert needs key: a certificate is proved by its private key',
    path: ['key'],
  })
  .refine(({ cert, key }) => key === null || cert !== null, {
    message: 'key needs cert: a private key proves nothing without its certificate',
    path: ['cert'],
  });

export const tls = z
  .union([z.boolean(), tlsParts], 'true, false, or {ca, cert, key, key_password, verify}')
  .default(false)
  .transform((asked) => {
    if (asked === false) return null;
    const { key_password: passphrase, verify, ...pems } = asked === true ? tlsParts.parse({}) : asked;
    return { ...pems, passphrase, verify: verify ? ('full' as const) : ('none' as const) };
  });

const password = z.strictObject({
  mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).describe('How we prove who we are.'),
  username: z.string().min(1).describe('Whom the brokers know us as.'),
  password: z.string().min(1).describe('Best a reference to the environment or to a file.'),
  allow_cleartext: allowCleartext,
});

const bearer = z
  .strictObject({
    mechanism: z.literal('oauthbearer').describe('How we prove who we are.'),
    token: z.string().min(1).nullable().default(null).describe('A token that lasts; or token_url.'),
    token_url: z
      .url({ protocol: /^https?$/ })
      .nullable()
      .default(null)
      .describe('Where tokens are issued.'),
    client_id: z.string().min(1).nullable().default(null).describe('Whom the issuer knows us as.'),
    client_secret: z.string().min(1).nullable().default(null).describe('What we prove it with.'),
    scope: z.string().min(1).nullable().default(null).describe("What is asked for; null: the issuer's."),
    allow_cleartext: allowCleartext,
  })
  .refine(({ token, token_url }) => (token === null) !== (token_url === null), {
    message: 'oauthbearer needs token, or token_url with client_id and client_secret, not both',
    path: ['token'],
  })
  .refine(({ token_url, client_id, client_secret }) => token_url === null || (client_id && client_secret), {
    message: 'token_url needs client_id and client_secret',
    path: ['token_url'],
  })
  .refine(({ token_url, allow_cleartext }) => allow_cleartext || isProtected(token_url), {
    message: `http:// ${CLEARTEXT}`,
    path: ['token_url'],
  });

const sasl = z.discriminatedUnion('mechanism', [password, bearer], {
  error: 'mechanism is one of plain, scram-sha-256, scram-sha-512, oauthbearer',
});

/** An address that nobody can listen in on: encrypted, or of this machine; null: there is none. */
export function isProtected(url: string | null): boolean {
  const parsed = url === null ? null : URL.parse(url);
  return parsed?.protocol !== 'http:' || isLoopback(parsed.hostname);
}

function isLoopback(host: string): boolean {
  return LOOPBACK_HOST.test(host.replace(/^\[|\]$/g, ''));
}

const registryAuth = z
  .strictObject({
    user: z.string().min(1).nullable().default(null).describe('User of basic authentication.'),
    password: z.string().min(1).nullable().default(null).describe('Its password.'),
    token: z.string().min(1).nullable().default(null).describe('A bearer token, in place of the two.'),
  })
  .refine(
    ({ user, password: word, token }) => [user !== null && word !== null, token !== null].includes(true),
    {
      message: 'user and password, or token',
    },
  )
  .refine(({ user, password: word, token }) => token === null || (user === null && word === null), {
    message: 'user and password, or token: not both',
    path: ['token'],
  })
  .transform(({ user, password: word, token }) =>
    token === null ? { user: user ?? '', password: word ?? '' } : { token },
  );

const registry = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, error: 'the address of a schema registry, such as http://127.0.0.1:8081' })
      .refine((url) => URL.parse(url)?.username === '' && URL.parse(url)?.password === '', {
        message: 'user and password belong under auth, not into the address',
      })
      .describe("Address of a schema registry that speaks Confluent's API."),
    auth: registryAuth.nullable().default(null).describe('How we prove who we are; null: not at all.'),
    tls: tls.describe('How the registry proves who it is; only for https, where it is on by itself.'),
    timeout_ms: z
      .number()
      .int()
      .min(100)
      .max(600_000)
      .default(10_000)
      .describe('Longest wait for one answer.'),
    subject_strategy: z
      .enum(['topic_name', 'record_name', 'topic_record_name'])
      .default('topic_name')
      .describe('What a schema is filed under.'),
    compatibility: z
      .enum(['BACKWARD', 'BACKWARD_TRANSITIVE', 'FORWARD', 'FORWARD_TRANSITIVE', 'FULL', 'FULL_TRANSITIVE'])
      .nullable()
      .default(null)
      .describe('Set for new subjects; null: what the registry has is read and respected.'),
    allow_cleartext: allowCleartext,
  })
  .refine(({ url, auth, allow_cleartext }) => auth === null || allow_cleartext || isProtected(url), {
    message: `http:// ${CLEARTEXT}`,
    path: ['auth'],
  })
  .refine(({ url, tls: parts }) => parts === null || url.startsWith('https:'), {
    message: 'tls needs an address that begins with https://',
    path: ['tls'],
  });

const format = z.strictObject({
  decimal: z.enum(['precise', 'string', 'double']).default('precise').describe('How decimals are written.'),
  binary: z.enum(['bytes', 'base64', 'hex']).default('bytes').describe('How bytes are written.'),
  time: z
    .enum(['adaptive', 'adaptive_time_microseconds', 'connect', 'isostring', 'microseconds', 'nanoseconds'])
    .default('adaptive')
    .describe('How dates and times are written.'),
  interval: z.enum(['numeric', 'string']).default('numeric').describe('How intervals are written.'),
  hstore: z.enum(['json', 'map']).default('json').describe('How maps of text are written.'),
  bigint_unsigned: z
    .enum(['long', 'precise'])
    .default('long')
    .describe('How unsigned 64-bit integers are written; long wraps around above 2^63-1.'),
  names: z
    .enum(['avro', 'avro_unicode', 'none'])
    .default('avro')
    .describe('How names that Avro does not allow are adjusted.'),
  tombstones: z.boolean().default(true).describe('After a delete, a record with its key and no value.'),
  skip: z
    .array(z.enum(['c', 'u', 'd', 't']))
    .refine((operations) => new Set(operations).size === operations.length, 'an operation is named twice')
    .default([])
    .describe('Operations that are not published: create, update, delete, truncate.'),
  unknown_types: z
    .enum(['text', 'omit', 'bytes'])
    .default('text')
    .describe('Columns of a type that has no mapping: as their text, left out, or as bytes.'),
  key_columns: byTable(z.array(z.string().min(1)).min(1))
    .default({})
    .describe("Columns of the record's key, in place of the primary key's."),
  transaction_topic: z.boolean().default(false).describe('Publishes where transactions begin and end.'),
  heartbeat_ms: z
    .number()
    .int()
    .min(0)
    .max(86_400_000)
    .default(0)
    .describe('While nothing changes, a heartbeat as often as this; 0: none.'),
});

/** Holds for every kind of topic. */
const shared = {
  max_transaction_mb: z
    .number()
    .min(1)
    .max(1024)
    .default(64)
    .describe('A larger source transaction is published in parts.'),
  format: format.default(format.parse({})).describe('How changes are written.'),
};

const embedded = z.strictObject({
  kind: z.literal('embedded').optional().default('embedded').describe('Where changes are published.'),
  path: z.string().min(1).default('./var/topic').describe('Directory of the embedded topic.'),
  retention_hours: z.number().positive().default(168).describe('Changes older than this may go.'),
  retention_gb: z
    .number()
    .positive()
    .default(10)
    .describe('The oldest changes go, or writing waits, beyond this.'),
  ...shared,
});

const OVERSIZED = z.enum(['stop', 'key_only', 'claim_check', 'dead_letter']);

const kafka = z
  .strictObject({
    kind: z.literal('kafka').describe('Where changes are published.'),
    brokers: z
      .array(
        z
          .string()
          .regex(BROKER, 'host:port, such as 127.0.0.1:9092')
          .refine((address) => {
            const port = Number(BROKER.exec(address)?.[2] ?? 1);
            return port > 0 && port < 65_536;
          }, 'a port is 1 to 65535'),
      )
      .min(1)
      .describe('host:port of some brokers; the others are found through them.'),
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/, 'letters, digits, . _ -, at most 100')
      .optional()
      .describe("What topic names begin with; the pipeline's name if absent."),
    registry: registry.describe('Where the schemas are.'),
    delivery: z
      .enum(['exactly_once', 'at_least_once'])
      .default('exactly_once')
      .describe('at_least_once: no transactions; after a crash, changes may come twice.'),
    partitions: z.number().int().min(1).max(10_000).default(6).describe('Of a topic that is created.'),
    partition_overrides: byTable(z.number().int().min(1).max(10_000))
      .default({})
      .describe('The same for single tables.'),
    replication: z
      .number()
      .int()
      .min(1)
      .max(32_767)
      .nullable()
      .default(null)
      .describe("Copies of a topic that is created; null: the brokers' default."),
    retention_hours: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe("Changes older than this may go; null: the brokers' default."),
    compression: z
      .enum(['zstd', 'lz4', 'snappy', 'gzip', 'none'])
      .default('zstd')
      .describe('Of the record batches.'),
    tls: tls.describe('How the brokers prove who they are, and we by certificate; false: unencrypted.'),
    sasl: sasl.nullable().default(null).describe('How we prove who we are; null: not at all.'),
    oversized: OVERSIZED.default('stop').describe('What becomes of a record that the brokers would refuse.'),
    oversized_overrides: byTable(OVERSIZED).default({}).describe('The same for single tables.'),
    claim_check: z
      .strictObject({
        location: place.describe('Directory of the values that were too large, or s3://bucket/prefix.'),
        s3: s3Choices.optional().describe('How the object store of s3:// is reached.'),
      })
      .refine(({ location, s3: said }) => said === undefined || isS3(location), {
        path: ['s3'],
        message: 'only where location is s3://bucket/prefix',
      })
      .nullable()
      .default(null)
      .describe('Where claim_check keeps values.'),
    max_transaction_ms: z
      .number()
      .int()
      .min(100)
      .max(600_000)
      .default(10_000)
      .describe('A source transaction that takes longer to read is published in parts.'),
    transaction_timeout_ms: z
      .number()
      .int()
      .min(1000)
      .max(3_600_000)
      .default(60_000)
      .describe('When the brokers abort what we left open; at most their transaction.max.timeout.ms.'),
    request_timeout_ms: z
      .number()
      .int()
      .min(1000)
      .max(600_000)
      .default(30_000)
      .describe('Longest wait for one answer of a broker.'),
    ...shared,
  })
  .refine(
    ({ sasl: asked, tls: parts, brokers }) =>
      asked === null ||
      parts !== null ||
      asked.allow_cleartext ||
      // What SCRAM sends is of no use to who listens in, as long as the password is not guessed.
      asked.mechanism.startsWith('scram') ||
      brokers.every((address) => isLoopback(address.replace(/:\d+$/, ''))),
    { message: `${CLEARTEXT}`, path: ['sasl'] },
  )
  .refine(
    ({ oversized, oversized_overrides: of, claim_check: claims }) =>
      claims !== null || ![oversized, ...Object.values(of)].includes('claim_check'),
    { message: 'claim_check needs claim_check: {location: ...}, where it keeps values', path: ['oversized'] },
  )
  .refine(({ max_transaction_ms: part, transaction_timeout_ms: limit }) => limit >= 2 * part, {
    message: 'at least twice max_transaction_ms, or the brokers abort what is still being written',
    path: ['transaction_timeout_ms'],
  });

/** `kind` decides which keys there are; absent, it is `embedded`. */
export const topicSchema = z.discriminatedUnion('kind', [embedded, kafka], {
  error: 'allowed: embedded, kafka',
});

/** How changes are written: Debezium's modes, by the file's words. */
type FormatConfig = Readonly<z.output<typeof format>>;
/** `prefix` is what topic names begin with: here always the pipeline's name. */
export type EmbeddedTopicConfig = Readonly<z.output<typeof embedded> & { prefix: string }>;
export type KafkaTopicConfig = Readonly<z.output<typeof kafka> & { prefix: string }>;
export type TopicConfig = EmbeddedTopicConfig | KafkaTopicConfig;

/** The same in the words of the rooms that write. */
export const formatsOf = ({
  bigint_unsigned,
  unknown_types,
  key_columns,
  ...same
}: FormatConfig): Formats => ({
  ...same,
  bigintUnsigned: bigint_unsigned,
  unknownTypes: unknown_types,
  keyColumns: key_columns,
});

/** Fills in what follows from the rest of the file. `absolute` resolves paths beside it. */
export const resolveTopic = (
  topic: z.output<typeof topicSchema>,
  pipeline: string,
  absolute: (path: string) => string,
): TopicConfig => {
  if (topic.kind === 'embedded') return { ...topic, prefix: pipeline, path: absolute(topic.path) };
  const claims = topic.claim_check;
  const isBeside = claims !== null && !isS3(claims.location);
  return {
    ...topic,
    prefix: topic.prefix ?? pipeline,
    claim_check: isBeside ? { ...claims, location: absolute(claims.location) } : claims,
  };
};
