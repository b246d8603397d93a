// Owns proving to a REST catalog who we are: a token that lasts, or tokens by OAuth2 client credentials,
// asked for anew before they end. Knows no table.
import type { VarveError } from '../../../errors.ts';
import { explainRefusal, type Question, readRefusal, wrongAnswer } from './catalog-rest-failure.ts';
import type { HttpLine } from './catalog-rest-http.ts';

export type OauthChoices = {
  token_url: string;
  client_id: string;
  client_secret: string;
  scope: string | null;
};

/** What a token that does not tell how long it lasts is trusted for; a refusal renews it anyway. */
const UNTOLD_MS = 600_000;
/** Asked for anew so long before its end, for clocks that go apart and requests under way. */
const MARGIN_MS = 60_000;

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Null: not JSON. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
};

type Issued = { token: string; endsMs: number };

export class Credentials {
  readonly #line: HttpLine;
  readonly #fixed: string | null;
  readonly #oauth: OauthChoices | null;
  readonly #steadyMs: () => number;
  #issued: Promise<Issued> | null = null;

  constructor(
    line: HttpLine,
    { token, oauth }: { token: string | null; oauth: OauthChoices | null },
    steadyMs: () => number,
  ) {
    this.#line = line;
    this.#fixed = token;
    this.#oauth = oauth;
    this.#steadyMs = steadyMs;
  }

  /** Whether another token can be had. */
  get isRenewable(): boolean {
    return this.#oauth !== null;
  }

  /** The headers of a request. `isRefused`: the token of the last one was. */
  async headers({ isRefused }: { isRefused: boolean }): Promise<Record<string, string>> {
    const oauth = this.#oauth;
    if (oauth === null) return this.#fixed === null ? {} : { authorization: `Bearer ${this.#fixed}` };
    const held = isRefused ? null : await this.#issued;
    if (held === null || held.endsMs < this.#steadyMs()) {
      this.#issued = this.#ask(oauth);
      this.#issued.catch(() => {
        this.#issued = null;
      });
    }
    return { authorization: `Bearer ${(await this.#issued)?.token ?? ''}` };
  }

  /** https://datatracker.ietf.org/doc/html/rfc6749#section-4.4 */
  async #ask({ token_url: url, client_id, client_secret, scope }: OauthChoices): Promise<Issued> {
    const question: Question = { uri: url, what: 'get a token' };
    const fields = { grant_type: 'client_credentials', client_id, client_secret };
    const body = new URLSearchParams(scope === null ? fields : { ...fields, scope }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const { status, text } = await this.#line.send({ method: 'POST', url, headers, body, question });
    const answer = parseJson(text) as Record<string, unknown> | null;
    if (status !== 200) throw this.#refused(status, answer, question);
    const { access_token: token, expires_in: seconds } = answer ?? {};
    if (typeof token !== 'string' || token === '') throw wrongAnswer('gives no token', question);
    const lastsMs = typeof seconds === 'number' ? seconds * 1000 : UNTOLD_MS;
    return { token, endsMs: this.#steadyMs() + lastsMs - Math.min(MARGIN_MS, lastsMs / 2) };
  }

  /** Issuers refuse in words of their own, and wrong credentials also by 400. */
  #refused(status: number, answer: Record<string, unknown> | null, question: Question): VarveError {
    const type = textOf(answer?.error);
    const refusal = type === '' ? readRefusal(status, answer) : { status, type, message: '' };
    return explainRefusal(status === 400 && type !== '' ? { ...refusal, status: 401 } : refusal, question);
  }
}
