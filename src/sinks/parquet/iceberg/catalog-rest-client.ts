// Owns the talk with an Iceberg REST catalog: its own settings first, then requests below its prefix, tried
// again where that changes nothing. Knows no commit.
// https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
import { setTimeout as sleep } from 'node:timers/promises';
import { asVarveError } from '../../../errors.ts';
import {
  explainRefusal,
  isPassing,
  type Question,
  type Refusal,
  readRefusal,
  wrongAnswer,
} from './catalog-rest-failure.ts';
import { HttpLine, type TlsChoices } from './catalog-rest-http.ts';
import { Credentials, type OauthChoices, parseJson } from './catalog-rest-token.ts';

/** As the file says it. */
export type RestChoices = {
  kind: 'rest';
  /** What stands before `/v1`. */
  uri: string;
  warehouse: string | null;
  token: string | null;
  oauth: OauthChoices | null;
  tls: TlsChoices | null;
  timeout_ms: number;
};

export type RestClock = { steadyMs: () => number; random: () => number; firstPauseMs: number };

const CLOCK: RestClock = { steadyMs: () => performance.now(), random: Math.random, firstPauseMs: 200 };

/** Tries of what may be repeated; a daemon begins anew after them, from the table's last commit. */
const TRIES = 4;

/** `refusal` null: it was done. */
export type RestAnswer = { text: string; refusal: Refusal | null };

type Asked = { method: 'GET' | 'POST'; path: string; body?: string | undefined; what: string };

type Settings = { root: string; prefix: string };

const bare = (uri: string): string => uri.replace(/\/+$/, '');

/**
 * Where the service wants to be asked. One that does not know of the encryption in front of it names an
 * address without: secrets are not sent there.
 */
const rootOf = (uri: string, told: unknown): string => {
  if (typeof told !== 'string' || !/^https?:/.test(told)) return bare(uri);
  return uri.startsWith('https:') && !told.startsWith('https:') ? bare(uri) : bare(told);
};

export class RestClient {
  readonly #choices: RestChoices;
  readonly #line: HttpLine;
  readonly #credentials: Credentials;
  readonly #clock: RestClock;
  #settings: Promise<Settings> | null = null;

  constructor(choices: RestChoices, clock: RestClock = CLOCK) {
    const { tls, timeout_ms: timeoutMs } = choices;
    this.#choices = choices;
    this.#line = new HttpLine({ tls, timeoutMs });
    this.#credentials = new Credentials(this.#line, choices, clock.steadyMs);
    this.#clock = clock;
  }

  get uri(): string {
    return this.#choices.uri;
  }

  /** Something random between nothing and a pause that grows with the failures. */
  pause(failed: number): Promise<void> {
    const { firstPauseMs, random } = this.#clock;
    return sleep(firstPauseMs * 2 ** failed * random());
  }

  /** What the service says of itself, asked for once. Throws what `ask` throws. */
  async settings(): Promise<Settings> {
    this.#settings ??= this.#readSettings();
    try {
      return await this.#settings;
    } catch (thrown) {
      this.#settings = null;
      throw thrown;
    }
  }

  /** What the service overrides counts more than what it offers. */
  async #readSettings(): Promise<Settings> {
    const { uri, warehouse } = this.#choices;
    const what = warehouse === null ? 'read its settings' : `open the warehouse ${warehouse}`;
    const query = warehouse === null ? '' : `?warehouse=${encodeURIComponent(warehouse)}`;
    const url = `${bare(uri)}/v1/config${query}`;
    const { text, refusal } = await this.#repeat(url, { method: 'GET', path: '', what });
    if (refusal !== null) throw explainRefusal(refusal, { uri, what });
    const said = parseJson(text) as Partial<Record<'defaults' | 'overrides', Record<string, unknown>>> | null;
    if (typeof said?.defaults !== 'object' && typeof said?.overrides !== 'object')
      throw wrongAnswer('is no Iceberg REST catalog', { uri, what });
    const all: Record<string, unknown> = { ...said?.defaults, ...said?.overrides };
    // As it comes: the service has escaped what had to be.
    const prefix = typeof all.prefix === 'string' && all.prefix !== '' ? `/${all.prefix}` : '';
    return { root: rootOf(uri, all.uri), prefix };
  }

  async #urlOf(path: string): Promise<string> {
    const { root, prefix } = await this.settings();
    return `${root}/v1${prefix}${path}`;
  }

  /**
   * Of what may be asked twice. Gives refusals that do not pass; throws catalog_unreachable, catalog_denied,
   * protocol_error.
   */
  async ask(asked: Asked): Promise<RestAnswer> {
    return await this.#repeat(await this.#urlOf(asked.path), asked);
  }

  /** Of what may not. Also gives refusals after which nobody knows whether it was done. */
  async askOnce(asked: Asked): Promise<RestAnswer> {
    return await this.#send(await this.#urlOf(asked.path), asked);
  }

  async #repeat(url: string, asked: Asked): Promise<RestAnswer> {
    const question = this.#question(asked);
    for (let failed = 0; ; failed++) {
      try {
        const answer = await this.#send(url, asked);
        if (answer.refusal === null || !isPassing(answer.refusal)) return answer;
        throw explainRefusal(answer.refusal, question);
      } catch (thrown) {
        if (asVarveError(thrown).kind !== 'catalog_unreachable' || failed + 1 === TRIES) throw thrown;
        await this.pause(failed);
      }
    }
  }

  #question({ what }: Asked): Question {
    return { uri: this.uri, what };
  }

  /** A token that has ended meanwhile is renewed; who was not let in has changed nothing. */
  async #send(url: string, asked: Asked): Promise<RestAnswer> {
    const answer = await this.#sendAs(url, asked, { isRefused: false });
    const isRefused = answer.refusal?.status === 401 && this.#credentials.isRenewable;
    const last = isRefused ? await this.#sendAs(url, asked, { isRefused }) : answer;
    const { refusal } = last;
    if (refusal?.status === 401 || refusal?.status === 403)
      throw explainRefusal(refusal, this.#question(asked));
    return last;
  }

  async #sendAs(url: string, asked: Asked, last: { isRefused: boolean }): Promise<RestAnswer> {
    const { method, body } = asked;
    const sent: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
    const headers = { ...sent, ...(await this.#credentials.headers(last)) };
    const { status, text } = await this.#line.send({
      ...{ method, url, headers, body },
      question: this.#question(asked),
    });
    const isDone = status >= 200 && status < 300;
    return { text, refusal: isDone ? null : readRefusal(status, parseJson(text)) };
  }

  close(): void {
    this.#line.close();
  }
}
