// Owns the read-only Iceberg REST catalog: routes, paging, errors as its clients expect them. Answers only;
// sockets are http.ts's. Knows no file: which tables there are is catalog-tables.ts's.
// https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
import { createHash } from 'node:crypto';
import { asVarveError } from '../errors.ts';
import type { CatalogTable, CatalogTables } from './catalog-tables.ts';

type CatalogRequest = {
  method: string;
  /** With the query, as it came. */
  url: string;
  /** Of an answer that the client still has. */
  ifNoneMatch?: string | undefined;
};

type CatalogAnswer = { code: number; headers: Record<string, string>; body: string | null };

type CatalogOptions = {
  /** The pipeline's: the one warehouse there is. */
  warehouse: string;
  tables: CatalogTables;
  /** What clients need to reach the files, where they do not know better. No secret. */
  defaults: Readonly<Record<string, string>>;
  scrub: (text: string) => string;
};

const PAGE_SIZE = 100;

/** In the specification's words: clients leave everything alone that is not in here. */
const ENDPOINTS = [
  'GET /v1/{prefix}/namespaces',
  'GET /v1/{prefix}/namespaces/{namespace}',
  'HEAD /v1/{prefix}/namespaces/{namespace}',
  'GET /v1/{prefix}/namespaces/{namespace}/tables',
  'GET /v1/{prefix}/namespaces/{namespace}/tables/{table}',
  'HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}',
] as const;

/** An answer that is an error: what clients throw hangs on code and type. */
class Refusal extends Error {
  readonly code: number;
  readonly type: string;

  constructor(code: number, type: string, sentence: string) {
    super(sentence);
    this.code = code;
    this.type = type;
  }
}

const printJson = (body: object): string => JSON.stringify(body);

const answer = (body: object): CatalogAnswer => ({ code: 200, headers: {}, body: printJson(body) });

const NO_CONTENT: CatalogAnswer = { code: 204, headers: {}, body: null };

const refuse = ({ code, type, message }: Refusal): CatalogAnswer => ({
  code,
  headers: code === 405 ? { allow: 'GET, HEAD' } : {},
  body: printJson({ error: { message, type, code } }),
});

const noNamespace = (name: string): Refusal =>
  new Refusal(404, 'NoSuchNamespaceException', `There is no namespace ${shown(name)} here.`);

/** Also where the namespace is missing: clients ask for `orders.snapshots` as a namespace first. */
const noTable = (namespace: string, name: string): Refusal =>
  new Refusal(404, 'NoSuchTableException', `There is no table ${shown(namespace)}.${shown(name)} here.`);

/** Levels of a namespace come separated by the unit separator. */
const shown = (name: string): string => name.replaceAll('\u001f', '.');

const decode = (part: string): string => {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new Refusal(400, 'BadRequestException', `${part} is not percent-encoded UTF-8.`);
  }
};

/** The items after the token's, at most `pageSize`; all of them where no page is asked for. */
const page = <Item>(
  items: readonly Item[],
  query: URLSearchParams,
  keyOf: (item: Item) => string,
): { items: readonly Item[]; next: string | null } => {
  const token = query.get('pageToken');
  if (token === null) return { items, next: null };
  const size = Number(query.get('pageSize') ?? PAGE_SIZE);
  if (!Number.isSafeInteger(size) || size < 1)
    throw new Refusal(400, 'BadRequestException', 'pageSize is a whole number above 0.');
  const after = Buffer.from(token, 'base64url').toString();
  if (Buffer.from(after).toString('base64url') !== token)
    throw new Refusal(400, 'BadRequestException', 'pageToken is none that was given out here.');
  const left = items.filter((item) => token === '' || keyOf(item) > after);
  const last = left.length > size ? left[size - 1] : undefined;
  const next = last === undefined ? null : Buffer.from(keyOf(last)).toString('base64url');
  return { items: left.slice(0, size), next };
};

type Route = { parts: readonly string[]; query: URLSearchParams; isHead: boolean; ifNoneMatch: string };

class Catalog {
  readonly #options: CatalogOptions;

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  async answer({ method, url, ifNoneMatch = '' }: CatalogRequest): Promise<CatalogAnswer> {
    try {
      if (method !== 'GET' && method !== 'HEAD')
        throw new Refusal(
          405,
          'UnsupportedOperationException',
          'This catalog only reads: Varve alone writes these tables.',
        );
      const [path = '', search = ''] = url.split('?', 2);
      const parts = path.split('/').slice(2).map(decode);
      const query = new URLSearchParams(search);
      return await this.#route({ parts, query, isHead: method === 'HEAD', ifNoneMatch });
    } catch (thrown) {
      return refuse(thrown instanceof Refusal ? thrown : this.#failure(thrown));
    }
  }

  #failure(thrown: unknown): Refusal {
    const { kind, message, outcome } = asVarveError(thrown);
    const sentence = `${kind}: ${this.#options.scrub(message)}`;
    if (outcome === 'retry') return new Refusal(503, 'ServiceUnavailableException', sentence);
    return new Refusal(500, 'InternalServerError', sentence);
  }

  async #route({ parts, query, isHead, ifNoneMatch }: Route): Promise<CatalogAnswer> {
    const [root, namespace = '', tables, name = ''] = parts;
    if (root === 'config' && parts.length === 1 && !isHead) return this.#config(query);
    if (root === 'namespaces') {
      if (parts.length === 1 && !isHead) return this.#namespaces(query);
      if (parts.length === 2) return this.#namespace(namespace, isHead);
      if (tables === 'tables' && parts.length === 3 && !isHead) return this.#tables(namespace, query);
      if (tables === 'tables' && parts.length === 4) {
        const loaded = await this.#table(namespace, name, ifNoneMatch);
        return isHead ? NO_CONTENT : loaded;
      }
    }
    throw new Refusal(404, 'NotFoundException', `There is no ${isHead ? 'HEAD' : 'GET'} of this path here.`);
  }

  #config(query: URLSearchParams): CatalogAnswer {
    const { warehouse, defaults } = this.#options;
    const asked = query.get('warehouse') ?? '';
    if (asked !== '' && asked !== warehouse)
      throw new Refusal(
        404,
        'NoSuchWarehouseException',
        `There is no warehouse ${asked} here: this is ${warehouse}.`,
      );
    // Clients report what they scanned unless they are told not to.
    const overrides = { 'rest-metrics-reporting-enabled': 'false' };
    return answer({ defaults, overrides, endpoints: ENDPOINTS });
  }

  async #namespaces(query: URLSearchParams): Promise<CatalogAnswer> {
    const names = [...new Set((await this.#options.tables.list()).map(({ namespace }) => namespace))];
    const parent = query.get('parent') ?? '';
    if (parent !== '' && !names.includes(parent)) throw noNamespace(parent);
    const { items, next } = page(parent === '' ? names : [], query, (name) => name);
    return answer({ namespaces: items.map((name) => [name]), 'next-page-token': next });
  }

  async #namespace(namespace: string, isHead: boolean): Promise<CatalogAnswer> {
    const [first] = await this.#tablesOf(namespace);
    if (isHead) return NO_CONTENT;
    return answer({ namespace: [namespace], properties: { 'varve.schema': first.schema } });
  }

  async #tables(namespace: string, query: URLSearchParams): Promise<CatalogAnswer> {
    const { items, next } = page(await this.#tablesOf(namespace), query, ({ name }) => name);
    const identifiers = items.map(({ name }) => ({ namespace: [namespace], name }));
    return answer({ identifiers, 'next-page-token': next });
  }

  async #tablesOf(namespace: string): Promise<readonly [CatalogTable, ...CatalogTable[]]> {
    const listed = await this.#options.tables.list();
    const [first, ...others] = listed.filter((table) => table.namespace === namespace);
    if (first === undefined) throw noNamespace(namespace);
    return [first, ...others];
  }

  /** The file's text as it is: ids of other writers have 63 bits, which a parser would round. */
  async #table(namespace: string, name: string, ifNoneMatch: string): Promise<CatalogAnswer> {
    const found = await this.#options.tables.load(namespace, name);
    if (found === null) throw noTable(namespace, name);
    const { uri, text } = found;
    const etag = `"${createHash('sha256').update(uri).update('\n').update(text).digest('base64url')}"`;
    if (ifNoneMatch.split(/\s*,\s*/).includes(etag)) return { code: 304, headers: { etag }, body: null };
    const body = `{"metadata-location":${JSON.stringify(uri)},"metadata":${text},"config":{}}`;
    return { code: 200, headers: { etag }, body };
  }
}

/** Answers every request below `/v1/`; never throws. */
export const makeCatalog = (
  options: CatalogOptions,
): ((request: CatalogRequest) => Promise<CatalogAnswer>) => {
  const catalog = new Catalog(options);
  return (request) => catalog.answer(request);
};
