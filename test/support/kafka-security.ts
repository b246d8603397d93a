// What makes a broker of the tests secure: certificates made by openssl, SASL mechanisms with their users,
// and the tokens of OAUTHBEARER. Knows no broker.
import { execFile } from 'node:child_process';
import { createSign, generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { KAFKA_USERS } from './kafka-install.ts';

const run = promisify(execFile);

export type KafkaSecurity = {
  readonly tls: true;
  /** The broker asks for a client certificate. */
  readonly mtls?: boolean;
  readonly sasl?: 'scram-sha-512' | 'scram-sha-256' | 'plain' | 'oauthbearer';
};
/** PEM text. */
export type KafkaTls = { readonly ca: string; readonly cert?: string; readonly key?: string };
export type Secured = {
  readonly settings: Readonly<Record<string, string>>;
  /** Of the Java process. */
  readonly flags: readonly string[];
  readonly tls: KafkaTls | null;
  readonly token: (subject: string, lifeS?: number) => string;
};

const LISTENER = 'listener.name.client';
const AUDIENCE = 'varve-tests';
const ISSUER = 'https://issuer.test';
const TOKEN_LIFE_S = 3600;

/** Writes certificates and keys below `root`; without a security there is nothing to do. */
export const secure = async (root: string, security: KafkaSecurity | undefined): Promise<Secured> => {
  const tokens = makeTokens();
  if (security === undefined) return { settings: {}, flags: [], tls: null, token: tokens.sign };
  const folder = join(root, 'security');
  await mkdir(folder);
  const tls = await makeCertificates(folder, security.mtls ?? false);
  const protocol = security.sasl ? 'SASL_SSL' : 'SSL';
  const keys = join(folder, 'keys.json');
  await writeFile(keys, tokens.keys);
  const keysUrl = pathToFileURL(keys).href;
  return {
    settings: {
      'listener.security.protocol.map': `CLIENT:${protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT`,
      [`${LISTENER}.ssl.keystore.type`]: 'PEM',
      [`${LISTENER}.ssl.keystore.location`]: join(folder, 'server.pem'),
      [`${LISTENER}.ssl.truststore.type`]: 'PEM',
      [`${LISTENER}.ssl.truststore.location`]: join(folder, 'ca.crt'),
      [`${LISTENER}.ssl.client.auth`]: security.mtls ? 'required' : 'none',
      ...(security.sasl ? saslSettings(security.sasl, keysUrl) : {}),
    },
    flags: [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${keysUrl}`],
    tls,
    token: tokens.sign,
  };
};

const saslSettings = (
  mechanism: NonNullable<KafkaSecurity['sasl']>,
  keysUrl: string,
): Record<string, string> => {
  const prefix = `${LISTENER}.${mechanism}`;
  const module = (name: string, options = ''): string =>
    `org.apache.kafka.common.security.${name} required${options};`;
  const enabled = { [`${LISTENER}.sasl.enabled.mechanisms`]: mechanism.toUpperCase() };
  const users = KAFKA_USERS.map(({ username, password }) => ` user_${username}="${password}"`).join('');
  if (mechanism === 'plain') {
    return { ...enabled, [`${prefix}.sasl.jaas.config`]: module('plain.PlainLoginModule', users) };
  }
  if (mechanism !== 'oauthbearer') {
    return { ...enabled, [`${prefix}.sasl.jaas.config`]: module('scram.ScramLoginModule') };
  }
  return {
    ...enabled,
    [`${prefix}.sasl.jaas.config`]: module('oauthbearer.OAuthBearerLoginModule'),
    [`${prefix}.sasl.server.callback.handler.class`]:
      'org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler',
    [`${prefix}.sasl.oauthbearer.jwks.endpoint.url`]: keysUrl,
    [`${prefix}.sasl.oauthbearer.expected.audience`]: AUDIENCE,
    [`${prefix}.sasl.oauthbearer.expected.issuer`]: ISSUER,
  };
};

/** A certificate authority of one test, the broker's certificate for 127.0.0.1, and a client's. */
const makeCertificates = async (folder: string, isMutual: boolean): Promise<KafkaTls> => {
  const openssl = (...args: string[]): Promise<unknown> =>
    run('openssl', args, { cwd: folder }).catch((cause) => {
      throw new Error('Tests with TLS need "openssl" on the PATH (Debian: openssl).', { cause });
    });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const ca = ['-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=varve tests', '-days', '2'];
  await openssl('req', '-x509', ...newKey, ...ca);
  const issue = async (name: string, subject: string, alternative: string): Promise<void> => {
    const request = ['-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject];
    await openssl('req', ...newKey, ...request);
    await writeFile(join(folder, `${name}.ext`), `subjectAltName=${alternative}\n`);
    const signed = ['-in', `${name}.csr`, '-out', `${name}.crt`, '-days', '2', '-extfile', `${name}.ext`];
    await openssl('x509', '-req', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', ...signed);
  };
  const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
  await issue('server', '/CN=broker', 'IP:127.0.0.1,DNS:localhost');
  await writeFile(join(folder, 'server.pem'), (await read('server.key')) + (await read('server.crt')));
  if (!isMutual) return { ca: await read('ca.crt') };
  await issue('client', '/CN=varve', 'DNS:varve');
  return { ca: await read('ca.crt'), cert: await read('client.crt'), key: await read('client.key') };
};

/** An issuer of tokens: its public keys as JSON text, and what signs. */
const makeTokens = (): { keys: string; sign: Secured['token'] } => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = { ...publicKey.export({ format: 'jwk' }), kid: 'tests', use: 'sig', alg: 'ES256' };
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return {
    keys: JSON.stringify({ keys: [key] }),
    sign: (subject, lifeS = TOKEN_LIFE_S) => {
      const nowS = Math.floor(Date.now() / 1000);
      const claims = { sub: subject, iss: ISSUER, aud: AUDIENCE, iat: nowS, exp: nowS + lifeS };
      const text = `${encode({ alg: 'ES256', kid: 'tests', typ: 'JWT' })}.${encode(claims)}`;
      const signer = createSign('SHA256').update(text);
      return `${text}.${signer.sign({ key: privateKey, dsaEncoding: 'ieee-p1363' }, 'base64url')}`;
    },
  };
};
