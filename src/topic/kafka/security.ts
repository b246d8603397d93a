// Owns how a broker is told from an impostor and how we say who we are: TLS and SASL, and what a refusal of
// either means. Knows no request. A password or token is never part of an error.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import {
  AuthenticationError,
  type Connection,
  NetworkError,
  ProtocolError,
  type SASLCustomAuthenticator,
  saslOAuthBearer,
  saslPlain,
  saslScramSha,
  TimeoutError,
} from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import { unreachable } from './errors.ts';

/**
 * `full` (the default) checks authority and host name, `ca` the authority only, `none` encrypts without
 * knowing to whom. `ca`, `cert`, `key` are PEM text; without `ca` the well-known authorities count.
 */
export type TlsSettings = {
  verify?: 'full' | 'ca' | 'none';
  ca?: string | null;
  cert?: string | null;
  key?: string | null;
  /** Of an encrypted `key`. */
  passphrase?: string | null;
};

/** `token`: a JWT, or where to get a fresh one; it is asked again for every connection. */
export type SaslSettings =
  | { mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'; username: string; password: string }
  | {
      mechanism: 'OAUTHBEARER';
      token: string | (() => Promise<string>);
      extensions?: Readonly<Record<string, string>>;
    };

/** For one connection to `host`; a client certificate is shown when there is one. */
export const tlsOptions = (settings: TlsSettings, host: string): TlsOptions => {
  const { verify = 'full', ca, cert, key, passphrase } = settings;
  return {
    rejectUnauthorized: verify !== 'none',
    ...(verify === 'ca' ? { checkServerIdentity: () => undefined } : {}),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(passphrase ? { passphrase } : {}),
  };
};

const refuse = (sentence: string): never => {
  throw new VarveError('config_invalid', sentence);
};

/** What reads a PEM text, or a sentence that names the setting and not its content. */
const readable = <Read>(setting: string, read: () => Read): Read => {
  try {
    return read();
  } catch {
    return refuse(`The Kafka setting ${setting} is not what it should be: PEM text that can be opened.`);
  }
};

const verifyTls = ({ ca, cert, key, passphrase }: TlsSettings): void => {
  if (ca) readable('tls.ca', () => new X509Certificate(ca));
  if (Boolean(cert) !== Boolean(key))
    refuse('A TLS client certificate needs both cert and key; one is given.');
  if (!cert || !key) return;
  const shown = readable('tls.cert', () => new X509Certificate(cert));
  const held = readable('tls.key', () => createPrivateKey({ key, ...(passphrase ? { passphrase } : {}) }));
  if (!shown.checkPrivateKey(held)) refuse('The Kafka settings tls.cert and tls.key do not belong together.');
};

/** Refuses what cannot work before anything is sent. Throws `config_invalid`. */
export const verifySecurity = (tls: TlsSettings | null, sasl: SaslSettings | null): void => {
  if (tls) verifyTls(tls);
  if (!sasl || sasl.mechanism === 'OAUTHBEARER') return;
  if (sasl.username === '' || sasl.password === '') refuse('SASL needs a username and a password.');
  // The library escapes one comma only.
  if (sasl.username.split(',').length > 2) refuse('A SASL username with two commas is not supported.');
};

const wanted = async (token: string | (() => Promise<string>)): Promise<string> => {
  if (typeof token === 'string') return token;
  try {
    return await token();
  } catch (cause) {
    throw unreachable('The SASL token could not be had from its source.', false, cause);
  }
};

type Begun = Parameters<SASLCustomAuthenticator>;
type Exchange = { connection: Connection; authenticate: Begun[2]; done: Begun[6] };

/** The library's own exchange; an exception inside its handling of an answer becomes an error. */
const exchange = (sasl: SaslSettings, { connection, authenticate, done }: Exchange): void => {
  const ask = ((to, bytes, answered) =>
    authenticate(to, bytes, (error, answer) => {
      try {
        answered?.(error, answer);
      } catch (thrown) {
        const isJudged = thrown instanceof AuthenticationError;
        done(isJudged ? thrown : new AuthenticationError(`The answer did not follow ${sasl.mechanism}.`));
      }
    })) as typeof authenticate;
  if (sasl.mechanism === 'PLAIN') {
    saslPlain.authenticate(ask, connection, sasl.username, sasl.password, done);
  } else if (sasl.mechanism === 'OAUTHBEARER') {
    const { token, extensions = {} } = sasl;
    saslOAuthBearer.authenticate(ask, connection, () => wanted(token), { ...extensions }, done);
  } else {
    const { username, password } = sasl;
    const algorithm = sasl.mechanism === 'SCRAM-SHA-256' ? 'SHA-256' : 'SHA-512';
    saslScramSha.authenticate(
      ask,
      connection,
      algorithm,
      username,
      password,
      saslScramSha.defaultCrypto,
      done,
    );
  }
};

/**
 * Authenticates one connection. `lives` hears for how long the broker will accept it, in ms. The library is
 * told that it lives for ever: its own re-authentication lets other requests in between, which brokers refuse
 * (KIP-368), so a line opens a new connection instead.
 */
export const authenticator =
  (sasl: SaslSettings, lives: (lifetimeMs: number) => void): SASLCustomAuthenticator =>
  (...[, connection, authenticate, , , , callback]) => {
    const done: Begun[6] = (error, answer) => {
      if (error || !answer) return callback(error ?? new AuthenticationError('The broker said nothing.'));
      // A bearer token is refused with a text and without an error code.
      // https://www.rfc-editor.org/rfc/rfc7628#section-3.2.2
      if (sasl.mechanism === 'OAUTHBEARER' && answer.authBytes.length > 0) {
        return callback(new AuthenticationError('The broker does not accept the token.'));
      }
      if (answer.sessionLifetimeMs > 0n) lives(Number(answer.sessionLifetimeMs));
      callback(null, { ...answer, sessionLifetimeMs: 0n });
    };
    exchange(sasl, { connection, authenticate, done });
  };

const TLS_CODE = /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_|INVALID_CA)/;
const CLIENT_CERTIFICATE_CODE = /CERTIFICATE_REQUIRED|ALERT_BAD_CERTIFICATE|HANDSHAKE_FAILURE/;

const chainOf = (thrown: unknown): readonly Error[] => {
  if (!(thrown instanceof Error)) return [];
  const more = thrown instanceof AggregateError ? (thrown.errors as readonly unknown[]) : [];
  return [thrown, ...[thrown.cause, ...more].flatMap(chainOf)];
};

const codeOf = (error: Error): string =>
  'code' in error && typeof error.code === 'string' ? error.code : '';

const tlsSentence = (code: string): string => {
  if (CLIENT_CERTIFICATE_CODE.test(code)) {
    return 'It wants a client certificate that it trusts; set tls.cert and tls.key.';
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return 'Its certificate is for another name; use the name it was made for, or tls.verify: ca.';
  }
  return 'Its certificate is not trusted; give the authority that signed it as tls.ca.';
};

/** `sent`: a request was on its way. `isFirst`: nothing was ever answered on this connection. */
type Loss = { sent: boolean; isFirst: boolean; sasl: SaslSettings | null };

/** What often lies behind a connection that is merely closed. */
const hintOf = (chain: readonly Error[], { sent, isFirst, sasl }: Loss): string => {
  if (chain.some(({ message }) => message.startsWith('TLS handshake failed'))) {
    return ' It broke off while TLS began: this may be a listener without TLS.';
  }
  return sent && isFirst && !sasl
    ? ' It closed on the first request: this may be a listener that wants SASL.'
    : '';
};

/**
 * Why a connection to `address` failed, as one of ours: `topic_denied` where TLS or SASL refused (stop), else
 * `topic_unreachable`. Nothing of the original is kept but its code.
 */
export const connectionError = (thrown: unknown, address: string, loss: Loss): VarveError => {
  const chain = chainOf(thrown);
  const own = chain.find((error) => error instanceof VarveError);
  if (own) return own;
  const codes = chain.map(codeOf);
  const tls = codes.find((code) => TLS_CODE.test(code));
  if (tls !== undefined) {
    return new VarveError('topic_denied', `TLS with ${address} failed (${tls}). ${tlsSentence(tls)}`, {
      facts: { address, code: tls },
    });
  }
  if (chain.some(({ message }) => message === 'Broker requires TLS.')) {
    return new VarveError(
      'topic_denied',
      `${address} speaks TLS only. Turn tls on, or use its other listener.`,
    );
  }
  const lost = chain.slice(1).some((error) => error instanceof NetworkError || error instanceof TimeoutError);
  const refusal = chain.findLast(
    (error) => error instanceof AuthenticationError || error instanceof ProtocolError,
  );
  if (refusal && !lost) {
    return new VarveError(
      'topic_denied',
      `${address} refused to let us in: ${refusal.message} Check user, password and mechanism.`,
      {
        facts: { address },
      },
    );
  }
  const reason =
    codes.findLast((code) => code !== '' && !code.startsWith('PLT_')) ?? chain.at(-1)?.message ?? 'unknown';
  const hint = hintOf(chain, loss);
  return unreachable(`The connection to ${address} failed (${reason}).${hint} It is tried again.`, loss.sent);
};
