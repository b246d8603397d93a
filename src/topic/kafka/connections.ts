// Owns one line to one broker's address: it connects when first asked, sends in the order of the calls, gives
// every answer to its asker or an error in time, and starts anew after a loss. Knows no leader, topic or
// request by name.
import {
  apiVersionsV3,
  Connection,
  type ConnectionOptions,
  type Reader,
  ResponseError,
  Writer,
} from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import { unreachable } from './errors.ts';
import {
  authenticator,
  connectionError,
  type SaslSettings,
  type TlsSettings,
  tlsOptions,
} from './security.ts';

/** `flexible`: this version's headers have tagged fields, which the protocol's page says for each API. */
export type ApiCall = {
  key: number;
  version: number;
  flexible: boolean;
  /** From the call to the answer; absent: the client's `requestTimeoutMs`. */
  timeoutMs?: number;
  /**
   * A broker answers one connection in order, so a question that waits at the broker holds up what is behind
   * it. Calls with a name here go over a connection of their own, in order among themselves.
   */
  lane?: string;
};

export type VersionRange = { min: number; max: number };

export type LineSettings = {
  clientId: string;
  tls: TlsSettings | null;
  sasl: SaslSettings | null;
  requestTimeoutMs: number;
};

/** What a broker says of itself when a connection begins. */
type Abilities = { ranges: ReadonlyMap<number, VersionRange>; features: ReadonlyMap<string, number> };

type Asked = {
  api: ApiCall;
  body: Writer;
  resolve: (answer: Reader) => void;
  reject: (error: VarveError) => void;
  timer: NodeJS.Timeout;
};

type Open = {
  connection: Connection;
  abilities: Abilities;
  inFlight: Set<Asked>;
  renewAtMs: number;
  /** The first thing that went wrong with the connection, which says more than the end of a request. */
  fault: () => unknown;
  answered: number;
};

const CONNECT_TIMEOUT_MS = 10_000;
/** Of the time for which a broker accepts an authenticated connection. */
const RENEW_AT = 0.85;
/** The line has its own limit for each request; the library's, one for all, is put out of the way. */
const NEVER_MS = 2 ** 31 - 1;
const MANY = 10_000;
/** What the library's own request header asks brokers to know us by. */
const SOFTWARE = ['varve', '1'] as const;

/** Metadata with topic ids: the newest of what every connection needs. */
const [METADATA, METADATA_VERSION] = [3, 12];

const tooOld = (): VarveError =>
  new VarveError('topic_unfit', 'This broker is too old. Varve needs Apache Kafka 3.1 or later.');

const abilitiesOf = async (connection: Connection): Promise<Abilities> => {
  const answer = await apiVersionsV3.api.async(connection, ...SOFTWARE).catch((error: unknown) => {
    if (!(error instanceof ResponseError)) throw error;
    throw tooOld();
  });
  const metadata = answer.apiKeys.find(({ apiKey }) => apiKey === METADATA);
  if (!metadata || metadata.maxVersion < METADATA_VERSION) throw tooOld();
  return {
    ranges: new Map(
      answer.apiKeys.map(({ apiKey, minVersion: min, maxVersion: max }) => [apiKey, { min, max }]),
    ),
    features: new Map(
      (answer.finalizedFeatures ?? []).map(({ name, maxVersionLevel }) => [name, maxVersionLevel]),
    ),
  };
};

export class BrokerLine {
  readonly address: string;
  readonly #host: string;
  readonly #port: number;
  readonly #settings: LineSettings;
  /** In the order of the calls; not yet handed to a connection. */
  #waiting: Asked[] = [];
  #open: Open | null = null;
  /** The attempt that is under way; another one in its place means that this one was given up. */
  #attempt: Connection | null = null;

  /** `address`: host:port, an IPv6 address in brackets. */
  constructor(address: string, settings: LineSettings) {
    const at = address.lastIndexOf(':');
    this.address = address;
    this.#host = address.slice(0, at).replace(/^\[|\]$/g, '');
    this.#port = Number(address.slice(at + 1));
    this.#settings = settings;
  }

  get isOpen(): boolean {
    return this.#open !== null;
  }

  /**
   * One request, one answer: the Reader stands at the body. Rejects with `topic_unreachable` when the
   * connection cannot be made, dies, or the time limit passes, which kills the connection; with
   * `topic_denied` when the broker does not let us in.
   */
  ask(api: ApiCall, write: (out: Writer) => void): Promise<Reader> {
    const body = Writer.create();
    return new Promise((resolve, reject) => {
      write(body);
      const limitMs = api.timeoutMs ?? this.#settings.requestTimeoutMs;
      const timer = setTimeout(() => this.#giveUp(limitMs), limitMs);
      this.#waiting.push({ api, body, resolve, reject, timer });
      this.#flush();
    });
  }

  /** What the broker can, of the connection that is open, which is made when there is none. */
  async abilities(): Promise<Abilities> {
    if (!this.#open) await this.ask({ key: 18, version: 0, flexible: false }, () => undefined);
    if (!this.#open) throw unreachable(`The connection to ${this.address} was lost.`, false);
    return this.#open.abilities;
  }

  /** Kills the connection; whoever waits for an answer gets `error`'s place in `topic_unreachable`. */
  kill(reason: string): void {
    const connection = this.#open?.connection ?? this.#attempt;
    const [sent, unsent] = [[...(this.#open?.inFlight ?? [])], this.#waiting];
    this.#open = null;
    this.#attempt = null;
    this.#waiting = [];
    connection?.socket?.destroy(new Error(reason));
    for (const asked of sent) this.#refuse(asked, unreachable(reason, true));
    for (const asked of unsent) this.#refuse(asked, unreachable(reason, false));
  }

  #giveUp(limitMs: number): void {
    this.kill(`${this.address} did not answer within ${limitMs} ms. The connection was closed.`);
  }

  #refuse(asked: Asked, error: VarveError): void {
    clearTimeout(asked.timer);
    asked.reject(error);
  }

  #flush(): void {
    if (this.#waiting.length === 0) return;
    const open = this.#open;
    if (open && performance.now() < open.renewAtMs) {
      for (const asked of this.#waiting.splice(0)) this.#send(open, asked);
      return;
    }
    // Behind the last answer, so that no request overtakes another over two connections.
    if (open && open.inFlight.size > 0) return;
    open?.connection.socket.destroy();
    this.#open = null;
    this.#connect();
  }

  #send(open: Open, asked: Asked): void {
    const { connection, inFlight, fault } = open;
    const { api, body, resolve } = asked;
    const parse = (...[, , , answer]: [number, number, number, Reader]): Reader => answer;
    inFlight.add(asked);
    connection.send(
      api.key,
      api.version,
      () => body,
      parse,
      api.flexible,
      api.flexible,
      (error, answer) => {
        inFlight.delete(asked);
        if (error || !answer) {
          const loss = { sent: true, isFirst: open.answered === 0, sasl: this.#settings.sasl };
          this.#refuse(asked, connectionError(fault() ?? error, this.address, loss));
        } else {
          clearTimeout(asked.timer);
          resolve(answer);
        }
        this.#flush();
      },
    );
  }

  #connect(): void {
    if (this.#attempt) return;
    let lifetimeMs = Number.POSITIVE_INFINITY;
    let fault: unknown = null;
    const lives = (ms: number): void => {
      lifetimeMs = ms;
    };
    const connection = new Connection(this.#settings.clientId, this.#options(lives));
    this.#attempt = connection;
    connection.on('error', (thrown) => {
      fault ??= thrown;
    });
    connection.on('close', () => {
      if (this.#open?.connection === connection) this.#open = null;
    });
    const begin = async (): Promise<Open> => {
      await connection.connect(this.#host, this.#port);
      const renewAtMs = performance.now() + lifetimeMs * RENEW_AT;
      const abilities = await abilitiesOf(connection);
      return { connection, abilities, inFlight: new Set(), renewAtMs, fault: () => fault, answered: 0 };
    };
    const begun = (open: Open): void => {
      this.#open = open;
      this.#flush();
    };
    const failed = (thrown: unknown): void => {
      connection.socket?.destroy();
      const error = connectionError(fault ?? thrown, this.address, {
        sent: false,
        isFirst: true,
        sasl: this.#settings.sasl,
      });
      for (const asked of this.#waiting.splice(0)) this.#refuse(asked, error);
    };
    begin().then(
      (open) => this.#settle(connection, () => begun(open)),
      (thrown: unknown) => this.#settle(connection, () => failed(thrown)),
    );
  }

  /** Acts on the end of an attempt, unless it was given up meanwhile. */
  #settle(connection: Connection, act: () => void): void {
    if (this.#attempt !== connection) return;
    this.#attempt = null;
    act();
  }

  #options(lives: (lifetimeMs: number) => void): ConnectionOptions {
    const { tls, sasl, requestTimeoutMs } = this.#settings;
    return {
      connectTimeout: Math.min(CONNECT_TIMEOUT_MS, requestTimeoutMs),
      requestTimeout: NEVER_MS,
      maxInflights: MANY,
      ...(tls ? { tls: tlsOptions(tls, this.#host) } : {}),
      ...(sasl ? { sasl: { mechanism: sasl.mechanism, authenticate: authenticator(sasl, lives) } } : {}),
    };
  }
}
