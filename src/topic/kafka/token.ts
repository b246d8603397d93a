// Owns getting an access token from an issuer, by OAuth 2.0's client credentials (RFC 6749, 4.4), and keeping
// it while it lasts. Knows no broker. Neither the secret nor a token is ever part of an error.
import { VarveError } from '../../errors.ts';

type IssuerSettings = {
  url: string;
  clientId: string;
  clientSecret: string;
  /** Null: what the issuer gives by itself. */
  scope: string | null;
  timeoutMs: number;
};

/** A token is asked for again when this part of its life is over. */
const USED_PART = 0.8;

/**
 * Gives a token that is good for a while yet. The function it returns throws `topic_denied` when the issuer
 * refuses us, `topic_unreachable` (retryable) when it does not answer, `protocol_error` for another answer.
 */
export const tokenSource = (settings: IssuerSettings, nowMs: () => number): (() => Promise<string>) => {
  let kept: { token: string; untilMs: number } | null = null;
  return async () => {
    const askedMs = nowMs();
    if (kept !== null && askedMs < kept.untilMs) return kept.token;
    const { token, lifeS } = await askIssuer(settings);
    kept = { token, untilMs: askedMs + lifeS * 1000 * USED_PART };
    return token;
  };
};

const askIssuer = async (settings: IssuerSettings): Promise<{ token: string; lifeS: number }> => {
  const { url, clientId, clientSecret, scope, timeoutMs } = settings;
  const facts = { url };
  const credentials = [clientId, clientSecret].map(encodeURIComponent).join(':');
  const form = { grant_type: 'client_credentials', ...(scope === null ? {} : { scope }) };
  let status: number;
  let text: string;
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
      body: new URLSearchParams(form),
      // The secret goes to this address and no other.
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    status = response.status;
    text = await response.text();
  } catch (thrown) {
    const why = reasonOf(thrown);
    const sentence = `The issuer of tokens at ${url} does not answer (${why}). It is tried again.`;
    throw new VarveError('topic_unreachable', sentence, { facts });
  }
  if (status >= 500 || status === 429) {
    const sentence = `The issuer of tokens at ${url} is not able to answer (${status}). It is tried again.`;
    throw new VarveError('topic_unreachable', sentence, { facts: { ...facts, status } });
  }
  if (status !== 200) {
    throw new VarveError(
      'topic_denied',
      `The issuer of tokens at ${url} gives us none (${status}). Check client_id, client_secret and scope ` +
        'in topic.sasl.',
      { facts: { ...facts, status } },
    );
  }
  const found = readToken(text);
  if (found !== null) return found;
  throw new VarveError(
    'protocol_error',
    `What answers at ${url} gives no token. Check topic.sasl.token_url.`,
    { facts },
  );
};

const reasonOf = (thrown: unknown): string => {
  if (!(thrown instanceof Error)) return 'unknown';
  const { cause } = thrown;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : thrown.name;
};

/** Without a life it is used once: nobody says how long it is good for. */
const readToken = (text: string): { token: string; lifeS: number } | null => {
  try {
    const { access_token: token, expires_in: life } = JSON.parse(text) as Record<string, unknown>;
    if (typeof token !== 'string' || token === '') return null;
    return { token, lifeS: typeof life === 'number' && life > 0 ? life : 0 };
  } catch {
    return null;
  }
};
