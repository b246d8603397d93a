// Owns what is remembered of the source between two starts, as the text of its Identity: who it is, and what
// the captured tables looked like when their rows last agreed with the topic. Decides whether it can be
// continued.
import type pg from 'pg';
import { type TableName, tableText } from '../../src/change/schema.ts';
import type { Identity } from '../../src/connector.ts';
import { compareIdentity, printIdentity, readIdentity } from './identity.ts';
import type { TableFacts } from './rewrites.ts';
import { readPublished, readTableFacts } from './rewrites-look.ts';
import type { SourceClients } from './source-clients.ts';

const TABLE_PREFIX = 'table ';

export class SourceMemory {
  /** By `tableText`. A table that was rewritten keeps its old facts until it is read again. */
  readonly facts = new Map<string, TableFacts>();
  readonly #clients: SourceClients;
  /** Who the source was when it was written down last. */
  #stored: Identity | null = null;

  constructor(clients: SourceClients) {
    this.#clients = clients;
  }

  readonly look = (
    tables: readonly TableName[],
    before: ReadonlyMap<string, TableFacts>,
  ): Promise<Map<string, TableFacts>> =>
    this.#clients.ask('looking for rewritten tables', (side) => this.lookWith(side, tables, before));

  /** Facts of the tables that exist, by `tableText`, as this connection sees them. */
  async lookWith(
    client: pg.ClientBase,
    tables: readonly TableName[],
    before: ReadonlyMap<string, TableFacts>,
  ): Promise<Map<string, TableFacts>> {
    const published = await readPublished(client, this.#clients.settings.publication.name, tables);
    const found = await readTableFacts(client, tables, before);
    for (const [text, facts] of found) {
      const how = published.get(text);
      if (how !== undefined) found.set(text, { ...facts, published: how });
    }
    return found;
  }

  get stored(): Identity | null {
    return this.#stored;
  }

  /** What is, to be stored. `tables` that nothing is remembered of are remembered as they are now. */
  async print(tables: readonly TableName[]): Promise<Identity> {
    const now = await this.#clients.ask('asking who the source is', (side) =>
      this.#clients.withReplication('asking who the source is', (replication) =>
        readIdentity(replication, side),
      ),
    );
    const unknown = tables.filter((table) => !this.facts.has(tableText(table)));
    if (unknown.length > 0) {
      for (const [text, facts] of await this.look(unknown, this.facts)) this.facts.set(text, facts);
    }
    const printed = tables.map((table) => {
      const text = tableText(table);
      return [`${TABLE_PREFIX}${text}`, JSON.stringify(this.facts.get(text) ?? null)];
    });
    return { ...printIdentity(now), ...Object.fromEntries(printed) };
  }

  /** Throws `source_changed` or `source_rewound`. */
  async verify(stored: Identity): Promise<void> {
    const now = await this.#clients.ask('asking who the source is', (side) =>
      this.#clients.withReplication('asking who the source is', (replication) =>
        readIdentity(replication, side),
      ),
    );
    compareIdentity(stored, now);
    this.#stored = stored;
    for (const [key, value] of Object.entries(stored)) {
      if (!key.startsWith(TABLE_PREFIX)) continue;
      const facts = JSON.parse(value) as TableFacts | null;
      if (facts !== null) this.facts.set(key.slice(TABLE_PREFIX.length), facts);
    }
  }
}
