// Owns the talk with a schema registry of Confluent's kind: a schema's id by its text, its text by its id,
// both kept for ever, so that the flow goes on without the registry. Knows no table and no record.
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Compatibility,
  SchemaRegistryClient,
} from '@confluentinc/schemaregistry/dist/schemaregistry-client.js';
import type { Facts, VarveError } from '../../errors.ts';
import {
  explainRegistry,
  incompatible,
  isAbsent,
  isSubjectAbsent,
  type Question,
  refusalOf,
  unreachable,
  wrongAnswer,
} from './registry-errors.ts';
import { isSameSchema } from './schema-equal.ts';
import { type TlsSettings, tlsOptions } from './security.ts';

export type RegistrySettings = {
  /** Without user and password. */
  url: string;
  auth: { user: string; password: string } | { token: string } | null;
  /** For https; null: the authorities of the system count. */
  tls: TlsSettings | null;
  /** For one answer. */
  timeoutMs: number;
  /** For a question and its repetitions; three times `timeoutMs` if absent. */
  patienceMs?: number;
  /** Set for subjects that do not exist yet; null: what the registry has stays. */
  compatibility: Exclude<`${Compatibility}`, 'NONE'> | null;
};

const PAUSE_MS = { first: 100, most: 5000 } as const;
const MAX_ANSWER_BYTES = 32 << 20;
const MAX_ID = 0x7fff_ffff;

/** Sends nothing yet: a pipeline starts while the registry is down. */
export const openRegistry = async (settings: RegistrySettings): Promise<Registry> => new Registry(settings);

export class Registry {
  readonly #settings: RegistrySettings;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #client: SchemaRegistryClient;
  readonly #closing = new AbortController();
  /** By subject and text, and by id. Failures are not kept. */
  readonly #ids = new Map<string, Promise<number>>();
  readonly #texts = new Map<number, Promise<string>>();
  /**
   * One question at a time: the client's own locks allow no more, and a time limit needs to know its start.
   */
  #lane: Promise<unknown> = Promise.resolve();

  constructor(settings: RegistrySettings) {
    const { url, auth, tls } = settings;
    const { hostname, protocol } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, '');
    this.#settings = settings;
    this.#agent =
      protocol === 'https:'
        ? new HttpsAgent({ keepAlive: true, ...tlsOptions(tls ?? {}, host) })
        : new HttpAgent({ keepAlive: true });
    this.#client = new SchemaRegistryClient({
      baseURLs: [url.replace(/\/+$/, '')],
      maxRetries: 0,
      createAxiosDefaults: {
        httpAgent: this.#agent,
        httpsAgent: this.#agent,
        // A redirected POST becomes a GET, whose answer says something else.
        maxRedirects: 0,
        maxContentLength: MAX_ANSWER_BYTES,
        proxy: false,
        headers: auth === null ? {} : { Authorization: authorization(auth) },
      },
    });
  }

  /**
   * The id of a schema under a subject, registered if it is not there: the same one for the same text, for
   * ever. Throws `schema_incompatible`, `registry_denied`, `registry_unreachable` (retryable),
   * `protocol_error`.
   */
  register(subject: string, schemaText: string): Promise<number> {
    return remember(this.#ids, `${subject}\n${schemaText}`, () => this.#register(subject, schemaText));
  }

  /**
   * The text of a schema. Throws `schema_unknown`, `registry_denied`, `registry_unreachable`,
   * `protocol_error`.
   */
  schema(id: number): Promise<string> {
    return remember(this.#texts, id, () => this.#read(id));
  }

  /** The level in force for a subject, its own or the registry's; not kept, because it may be changed. */
  async compatibility(subject: string): Promise<string> {
    const what = `read the compatibility of ${subject}`;
    const level = await this.#ask(what, { subject }, async (client) => {
      try {
        return await client.getCompatibility(subject);
      } catch (thrown) {
        if (!isAbsent(refusalOf(thrown))) throw thrown;
        return await client.getDefaultCompatibility();
      }
    });
    if (typeof level !== 'string') throw wrongAnswer('gave none', this.#question(what, { subject }));
    return level;
  }

  /** Ends what is waiting. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#agent.destroy();
  }

  async #register(subject: string, schemaText: string): Promise<number> {
    const asked = { schema: schemaText };
    const found = await this.#ask(`look up the schema of ${subject}`, { subject }, async (client) => {
      try {
        return { id: await client.getId(subject, asked), isNew: false };
      } catch (thrown) {
        const refusal = refusalOf(thrown);
        if (!isAbsent(refusal)) throw thrown;
        return { id: null, isNew: isSubjectAbsent(refusal) };
      }
    });
    const id = found.id === null ? await this.#add(subject, schemaText, found.isNew) : found.id;
    await this.#verify(subject, schemaText, id);
    return id;
  }

  async #add(subject: string, schemaText: string, isNew: boolean): Promise<number> {
    const level = this.#settings.compatibility;
    if (isNew && level !== null) {
      await this.#ask(`set the compatibility of ${subject}`, { subject }, (client) =>
        client.updateCompatibility(subject, level as Compatibility),
      );
    }
    const added = await this.#ask(`register the schema of ${subject}`, { subject }, async (client) => {
      try {
        return await client.register(subject, { schema: schemaText });
      } catch (thrown) {
        const refusal = refusalOf(thrown);
        const isRefused = refusal?.status === 409 || refusal?.errorCode === INVALID_SCHEMA;
        if (!isRefused || refusal === null) throw thrown;
        return refusal;
      }
    });
    if (typeof added !== 'object' || added === null) return added;
    const standing = await this.compatibility(subject).catch(() => null);
    throw incompatible(subject, added, { url: this.#settings.url, level: standing });
  }

  /**
   * What readers will get for the id must be what was meant: an id cannot be taken back once it is in a
   * record.
   */
  async #verify(subject: string, schemaText: string, id: unknown): Promise<void> {
    const question = this.#question(`register the schema of ${subject}`, { subject });
    if (!isId(id)) throw wrongAnswer('answered without an id', question);
    const text = await remember(this.#texts, id, () => this.#read(id));
    if (isSameSchema(text, schemaText)) return;
    this.#texts.delete(id);
    const facts = { subject, id };
    throw wrongAnswer(`answered with id ${id}, which is another schema there`, { ...question, facts });
  }

  async #read(id: number): Promise<string> {
    const what = `read schema ${id}`;
    const question = this.#question(what, { id });
    const found = await this.#ask(what, { id }, (client) => client.getBySubjectAndId('', id));
    const { schema, schemaType = 'AVRO', references = [] } = found ?? {};
    if (typeof schema !== 'string' || !isJson(schema))
      throw wrongAnswer('answered without a schema', question);
    if (schemaType !== 'AVRO')
      throw wrongAnswer(`has a ${schemaType} schema there, not an Avro one`, question);
    if (references.length > 0) throw wrongAnswer('has a schema there that refers to others', question);
    return schema;
  }

  #question(what: string, facts: Facts): Question {
    return { url: this.#settings.url, what, timeoutMs: this.#settings.timeoutMs, facts };
  }

  /** Asks until there is an answer, or patience ends. */
  async #ask<Answer>(
    what: string,
    facts: Facts,
    call: (client: SchemaRegistryClient) => Promise<Answer>,
  ): Promise<Answer> {
    const { timeoutMs, patienceMs = 3 * timeoutMs } = this.#settings;
    const question = this.#question(what, facts);
    const until = performance.now() + patienceMs;
    for (let pauseMs: number = PAUSE_MS.first; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS.most)) {
      const answer = await this.#once(call, question);
      if ('value' in answer) return answer.value;
      // Jitter: pipelines that lost the registry together do not come back together.
      const jitteredMs = pauseMs * (0.5 + Math.random() / 2);
      const isOver = this.#closing.signal.aborted || performance.now() + jitteredMs >= until;
      if (answer.error.outcome !== 'retry' || isOver) throw answer.error;
      await sleep(jitteredMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  #once<Answer>(
    call: (client: SchemaRegistryClient) => Promise<Answer>,
    question: Question,
  ): Promise<{ value: Answer } | { error: VarveError }> {
    const turn = this.#lane.then(async () => {
      if (this.#closing.signal.aborted) return { error: unreachable('it was closed', question) };
      let isLate = false;
      // For the whole answer, which the library's own limit is not.
      const timer = setTimeout(() => {
        isLate = true;
        this.#agent.destroy();
      }, question.timeoutMs);
      try {
        return { value: await call(this.#client) };
      } catch (thrown) {
        if (isLate) return { error: unreachable(`no answer within ${question.timeoutMs} ms`, question) };
        return { error: explainRegistry(thrown, question) };
      } finally {
        clearTimeout(timer);
        // It would keep wrong answers as well as right ones.
        this.#client.clearCaches();
      }
    });
    this.#lane = turn;
    return turn;
  }
}

/** Registration: "the input schema is invalid", with the reason. */
const INVALID_SCHEMA = 42201;

const isId = (id: unknown): id is number => Number.isInteger(id) && Number(id) >= 0 && Number(id) <= MAX_ID;

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

const authorization = (auth: { user: string; password: string } | { token: string }): string =>
  'token' in auth
    ? `Bearer ${auth.token}`
    : `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}`;

/** One question for all who ask meanwhile; its answer for all who ask later; a failure for nobody. */
const remember = <Key, Value>(
  known: Map<Key, Promise<Value>>,
  key: Key,
  find: () => Promise<Value>,
): Promise<Value> => {
  const before = known.get(key);
  if (before !== undefined) return before;
  const found = find();
  known.set(key, found);
  found.catch(() => {
    if (known.get(key) === found) known.delete(key);
  });
  return found;
};
