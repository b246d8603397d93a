// Owns commits through an Iceberg REST catalog: the service writes the metadata files, and each commit says
// what it stands on. What became of a commit whose answer was lost is found in the table itself.
import { VarveError } from '../../../errors.ts';
import type { CatalogBase, CatalogVersion, TableCatalog } from './catalog.ts';
import { type RestAnswer, type RestChoices, RestClient, type RestClock } from './catalog-rest-client.ts';
import { explainRefusal, isPassing, type Refusal, unreachable, wrongAnswer } from './catalog-rest-failure.ts';
import { requirementsOf, updatesBetween, updatesFor } from './catalog-updates.ts';
import {
  ancestry,
  COMMIT_UUID,
  checkMetadata,
  currentFields,
  parseExact,
  printExact,
  snapshotById,
  type TableMetadata,
} from './metadata.ts';
import { sameColumns } from './schema.ts';

/** Of a commit that nobody answered to; the table shows each time whether it was done. */
const TRIES = 3;

export type RestCatalog = TableCatalog & {
  /** Throws catalog_unreachable, catalog_denied, protocol_error. */
  prove(): Promise<void>;
  close(): void;
};

type Identifier = { namespace: string; name: string; label: string; path: string };

/** The last two parts of where the pipeline's file puts it: names of directories need no escapes anywhere. */
const identifierOf = (at: string): Identifier => {
  const [namespace = '', name = ''] = at.split('/').slice(-2);
  const label = `${namespace}.${name}`;
  return { namespace, name, label, path: `/namespaces/${namespace}/tables/${name}` };
};

const mainId = (metadata: TableMetadata): bigint => BigInt(metadata['current-snapshot-id'] ?? -1);

const commitOf = ({ properties }: TableMetadata): string | undefined => properties[COMMIT_UUID];

const holds = (found: TableMetadata, next: TableMetadata, base: TableMetadata | null): boolean => {
  if (found['table-uuid'] !== next['table-uuid'] && base !== null) return false;
  if (commitOf(found) === commitOf(next)) return true;
  const isNew = base !== null && mainId(base) !== mainId(next);
  return isNew && snapshotById(found, mainId(next)) !== null;
};

/**
 * Whether every snapshot from `base` on to what was found is known, so that none of ours can be among them.
 * Some services tell neither parents nor older snapshots, but all count commits.
 */
const isBridged = (found: TableMetadata, base: TableMetadata): boolean => {
  if (found['table-uuid'] !== base['table-uuid']) return true;
  if (found['last-sequence-number'] === base['last-sequence-number'] + 1) return true;
  for (const snapshot of ancestry(found)) {
    const parent = snapshot['parent-snapshot-id'] ?? null;
    if (BigInt(snapshot['snapshot-id']) === mainId(base)) return true;
    if (parent !== null && BigInt(parent) === mainId(base)) return true;
  }
  return false;
};

class ServiceCatalog implements RestCatalog {
  readonly isFiles = false;
  readonly #client: RestClient;

  constructor(client: RestClient) {
    this.#client = client;
  }

  async prove(): Promise<void> {
    await this.#client.settings();
  }

  close(): void {
    this.#client.close();
  }

  async load(at: string): Promise<CatalogVersion | null> {
    const { path, label } = identifierOf(at);
    const what = `load ${label}`;
    const { text, refusal } = await this.#client.ask({ method: 'GET', path, what });
    if (refusal === null) return this.#version(at, text);
    // The path would be as unknown to something else that answers there.
    if (refusal.status === 404 && refusal.type !== '') return null;
    throw this.#explain(refusal, what);
  }

  /** It gives no short answer. */
  async isNewest(): Promise<boolean> {
    return false;
  }

  #explain(refusal: Refusal, what: string): VarveError {
    return explainRefusal(refusal, { uri: this.#client.uri, what });
  }

  #version(at: string, text: string): CatalogVersion {
    const { label } = identifierOf(at);
    let answer: { metadata?: unknown; 'metadata-location'?: unknown } | null;
    try {
      answer = parseExact(text) as typeof answer;
    } catch {
      throw wrongAnswer('gives no JSON', { uri: this.#client.uri, what: `load ${label}` });
    }
    const metadata = checkMetadata(answer?.metadata, `${label} at ${this.#client.uri}`);
    const file = answer?.['metadata-location'];
    const location = metadata.location.replace(/\/+$/, '');
    return { at, location, version: 0, file: typeof file === 'string' ? file : '', metadata };
  }

  async create(at: string, made: TableMetadata): Promise<CatalogVersion | null> {
    const { namespace, name, label, path } = identifierOf(at);
    const what = `make ${label}`;
    const space = printExact({ namespace: [namespace], properties: {} });
    const spaces = await this.#client.ask({ method: 'POST', path: '/namespaces', body: space, what });
    if (spaces.refusal !== null && spaces.refusal.status !== 409) throw this.#explain(spaces.refusal, what);
    const [schema, spec, order] = [made.schemas[0], made['partition-specs'][0], made['sort-orders'].at(-1)];
    const body = printExact({
      ...{ name, location: made.location, schema, 'partition-spec': spec, 'write-order': order },
      'stage-create': true,
      properties: made.properties,
    });
    const tables = { method: 'POST', path: `/namespaces/${namespace}/tables`, body, what } as const;
    const { text, refusal } = await this.#client.ask(tables);
    if (refusal?.status === 409) return null;
    if (refusal !== null) throw this.#explain(refusal, what);
    const { metadata: staged } = this.#version(at, text);
    const commit = { requirements: [{ type: 'assert-create' }], updates: updatesFor(made, staged) };
    return await this.#commit({ at, path, what, base: null, next: made, commit });
  }

  async replace(base: CatalogBase, next: TableMetadata): Promise<CatalogVersion | null> {
    const { namespace, name, label, path } = identifierOf(base.at);
    const commit = {
      identifier: { namespace: [namespace], name },
      requirements: requirementsOf(base.metadata),
      updates: updatesBetween(base.metadata, next),
    };
    const what = `commit to ${label}`;
    return await this.#commit({ at: base.at, path, what, base: base.metadata, next, commit });
  }

  /**
   * Sends it until the table shows what became of it. Whoever lost an answer must not take a conflict for the
   * whole truth: it may be with that very commit.
   */
  async #commit(wanted: {
    at: string;
    path: string;
    what: string;
    base: TableMetadata | null;
    next: TableMetadata;
    commit: object;
  }): Promise<CatalogVersion | null> {
    const { at, path, what, base, next, commit } = wanted;
    const body = printExact(commit);
    let isLost = false;
    for (let tries = 1; ; tries++) {
      const { text, refusal } = await this.#attempt({ path, body, what });
      if (refusal === null) return this.#asWanted(this.#version(at, text), next);
      const isConflict = refusal.status === 409 || (refusal.status === 404 && refusal.type !== '');
      if (!isConflict && !isPassing(refusal)) throw this.#explain(refusal, what);
      isLost ||= !isConflict;
      const found = await this.load(at);
      if (found !== null && holds(found.metadata, next, base)) return this.#asWanted(found, next);
      const stands =
        base === null ? found === null : found !== null && mainId(found.metadata) === mainId(base);
      if (!stands && (found === null || base === null || isBridged(found.metadata, base))) return null;
      if (!isLost) throw this.#refused(at, refusal);
      if (!stands || tries === TRIES)
        throw unreachable(`${refusal.status} ${refusal.message}`, { uri: this.#client.uri, what });
      await this.#client.pause(tries);
    }
  }

  #refused(at: string, { message }: Refusal): VarveError {
    const why = message === '' ? 'the catalog says no more' : message;
    const sentence = `Another writer committed to ${at} first (${why}); load the table again, redo the work.`;
    return new VarveError('commit_conflict', sentence, { facts: { location: at } });
  }

  /** A silence as the refusal that it might have been: nobody knows what was done. */
  async #attempt(asked: { path: string; body: string; what: string }): Promise<RestAnswer> {
    try {
      return await this.#client.askOnce({ method: 'POST', ...asked });
    } catch (thrown) {
      if (!(thrown instanceof VarveError) || thrown.kind !== 'catalog_unreachable') throw thrown;
      return { text: '', refusal: { status: 504, type: '', message: 'no answer' } };
    }
  }

  /** Files have the ids that were asked for: a service that gave others would have them misread. */
  #asWanted(found: CatalogVersion, next: TableMetadata): CatalogVersion {
    const { metadata } = found;
    // Others have committed since.
    if (mainId(metadata) !== mainId(next)) return found;
    const isSame =
      metadata['current-schema-id'] === next['current-schema-id'] &&
      metadata['default-spec-id'] === next['default-spec-id'] &&
      sameColumns(currentFields(metadata), currentFields(next));
    if (isSame) return found;
    throw new VarveError(
      'table_foreign',
      `The catalog at ${this.#client.uri} has given ${found.at} other columns, or other ids, than it was ` +
        'asked for; Varve cannot write such a table.',
      { facts: { uri: this.#client.uri } },
    );
  }
}

export const openRestCatalog = (choices: RestChoices, clock?: RestClock): RestCatalog =>
  new ServiceCatalog(new RestClient(choices, clock));
