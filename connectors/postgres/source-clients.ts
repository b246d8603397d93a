// Owns the connections of one source: opened when first needed, ended together. Knows what they are for, not
// what is asked.
import type pg from 'pg';
import { type TableName, type TableSchema, tableText } from '../../src/change/schema.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import { Catalog } from './catalog.ts';
import { closeClient, openClient } from './connection.ts';
import type { Settings } from './options.ts';
import { compilePatterns } from './patterns.ts';
import type { ReplicationRequest } from './replication-client.ts';
import { attempt } from './source-attempt.ts';
import { SourceClaim } from './source-claim.ts';

const STATEMENT_TIMEOUT_MS = 120_000;
/** Longer than a statement or a lock may take, so that only silence comes to it. A COPY is no question. */
const ANSWER_TIMEOUT_MS = 150_000;

export class SourceClients {
  readonly settings: Settings;
  readonly claim: SourceClaim;
  readonly #selects: (name: TableName) => boolean;
  readonly #known: (name: TableName) => TableSchema | null;
  readonly #opened: Promise<pg.Client>[] = [];
  #side: Promise<pg.Client> | null = null;
  #catalog: Promise<Catalog> | null = null;

  /** Throws `config_invalid` for patterns that cannot be read. */
  constructor(settings: Settings, known: (name: TableName) => TableSchema | null) {
    this.settings = settings;
    this.claim = new SourceClaim(this);
    this.#selects = compilePatterns(settings.patterns);
    this.#known = known;
  }

  /**
   * Asks `sql`-sized questions on the shared connection. `doing` completes "PostgreSQL answered x while ..".
   */
  async ask<Result>(doing: string, question: (side: pg.Client) => Promise<Result>): Promise<Result> {
    this.#side ??= this.#openSide();
    const side = await this.#side;
    return attempt(doing, () => question(side));
  }

  /** A connection of the caller's own, without limits of time; the caller ends it. */
  readonly open = ({ replication }: { replication: boolean }): Promise<pg.Client> =>
    openClient(this.settings.connection, {
      applicationName: this.settings.applicationName,
      statementTimeoutMs: 0,
      // Making a slot waits for other transactions, for as long as they take.
      ...(replication ? {} : { answerTimeoutMs: ANSWER_TIMEOUT_MS }),
      replication,
    });

  async withReplication<Result>(
    doing: string,
    use: (replication: pg.Client) => Promise<Result>,
  ): Promise<Result> {
    const client = await this.open({ replication: true });
    try {
      return await attempt(doing, () => use(client));
    } finally {
      await closeClient(client);
    }
  }

  /** The catalog as it is now. It has a connection to itself, and remembers what the log said. */
  catalog(): Promise<Catalog> {
    this.#catalog ??= this.#keep({ replication: false }).then((client) => this.#openCatalog(client));
    return this.#catalog;
  }

  /** The tables' schemas as a snapshot shows them. */
  readonly prepareUnder = async (
    holder: pg.Client,
    tables: readonly TableName[],
  ): Promise<PreparedTable[]> => {
    const wanted = new Set(tables.map(tableText));
    const found = await (await this.#openCatalog(holder)).tables({ toRead: true });
    return found.map(({ table }) => table).filter(({ schema }) => wanted.has(tableText(schema.name)));
  };

  /** What the log is read with. `nowMicros`: microseconds since 1970-01-01 UTC. */
  logRequest(nowMicros: () => bigint): ReplicationRequest {
    const { connection, applicationName, slot, publication } = this.settings;
    return { connection, applicationName, slot, publications: [publication.name], nowMicros };
  }

  async close(): Promise<void> {
    await this.claim.release();
    await Promise.all(this.#opened.map((client) => client.then(closeClient).catch(() => undefined)));
  }

  /** One that broke, or never opened, is not asked again: the next question gets a new one. */
  #openSide(): Promise<pg.Client> {
    const side = this.#keep({ replication: false });
    const forget = (): void => {
      this.#side = null;
    };
    side.then((client) => client.once('end', forget), forget);
    return side;
  }

  #openCatalog(client: pg.Client): Promise<Catalog> {
    const { formats, rules } = this.settings;
    return Catalog.open({ client, selects: this.#selects, known: this.#known, formats, rules });
  }

  #keep({ replication }: { replication: boolean }): Promise<pg.Client> {
    const { connection, applicationName } = this.settings;
    const client = openClient(connection, {
      applicationName,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
      replication,
    });
    this.#opened.push(client);
    return client;
  }
}
