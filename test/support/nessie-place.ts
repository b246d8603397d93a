// Tables in a real REST catalog over a real object store: writers of their own, straight to it or through a
// proxy that does wrong. Knows no pipeline.
import { randomUUID } from 'node:crypto';
import { openRestCatalog, type RestCatalog } from '../../src/sinks/parquet/iceberg/catalog-rest.ts';
import type { RestChoices } from '../../src/sinks/parquet/iceberg/catalog-rest-client.ts';
import { printExact } from '../../src/sinks/parquet/iceberg/metadata.ts';
import type { TableIo, TableState } from '../../src/sinks/parquet/iceberg/table-state.ts';
import { startNessie, type TestNessie } from './nessie.ts';
import { openTestStore, S3_ENVIRONMENT, startS3, type TestS3 } from './s3.ts';
import { startS3Proxy } from './s3-proxy.ts';

type NessiePlace = {
  readonly s3: TestS3;
  readonly nessie: TestNessie;
  readonly proxy: Awaited<ReturnType<typeof startS3Proxy>>;
  /** Of the catalog, through the proxy. */
  readonly proxyUri: string;
  /** A writer; absent: straight to the catalog. */
  writer(uri?: string, more?: Partial<RestChoices>): TableIo;
  /** A commit on top of that, of the same files, by somebody who knows nothing of our keys; gives its id. */
  commitForeign(state: TableState): Promise<bigint>;
  /** URI of a table that nobody has made. */
  nextTable(): string;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A catalog that is asked as nobody in particular, and whose silences are found out soon. */
export const restChoices = (uri: string, more: Partial<RestChoices> = {}): RestChoices => ({
  ...{ kind: 'rest', uri, warehouse: 'lake', token: null, oauth: null, tls: null, timeout_ms: 20_000 },
  ...more,
});

const commitForeign = async (nessie: TestNessie, { at, metadata, snapshot }: TableState): Promise<bigint> => {
  const id = 4_611_686_018_427_387_905n;
  const theirs = {
    ...snapshot,
    'snapshot-id': id,
    'parent-snapshot-id': snapshot?.['snapshot-id'],
    'sequence-number': metadata['last-sequence-number'] + 1,
    summary: { operation: 'replace' },
  };
  const body = printExact({
    requirements: [{ type: 'assert-table-uuid', uuid: metadata['table-uuid'] }],
    updates: [
      { action: 'add-snapshot', snapshot: theirs },
      { action: 'set-snapshot-ref', 'ref-name': 'main', type: 'branch', 'snapshot-id': id },
    ],
  });
  const path = `/v1/main%7Clake/namespaces/public/tables/${at.split('/').at(-1)}`;
  const headers = { 'content-type': 'application/json' };
  const done = await fetch(`${nessie.uri}${path}`, { method: 'POST', headers, body });
  if (done.status !== 200) throw new Error(`Nessie refuses another engine's commit: ${await done.text()}`);
  return id;
};

/** The environment of this process becomes that of somebody who may use the store. */
export const openNessiePlace = async (): Promise<NessiePlace> => {
  await using stack = new AsyncDisposableStack();
  Object.assign(process.env, S3_ENVIRONMENT);
  const s3 = stack.use(await startS3());
  const nessie = stack.use(await startNessie(s3));
  const proxy = stack.use(await startS3Proxy(nessie));
  const store = openTestStore(nessie.location, { s3: { endpoint: s3.endpoint }, copies: null });
  stack.defer(() => store.close());
  const opened: RestCatalog[] = [];
  stack.defer(() => {
    for (const catalog of opened) catalog.close();
  });
  const clock = { steadyMs: () => performance.now(), random: Math.random, firstPauseMs: 5 };
  let tables = 0;
  const all = stack.move();
  return {
    s3,
    nessie,
    proxy,
    proxyUri: `${proxy.endpoint}/iceberg`,
    writer(uri = nessie.uri, more = {}) {
      const catalog = openRestCatalog(restChoices(uri, more), clock);
      opened.push(catalog);
      return { store, catalog, now: Date.now, uuid: randomUUID, onHintFailure: () => undefined };
    },
    commitForeign: (state) => commitForeign(nessie, state),
    nextTable: () => `${nessie.location}/public/t${++tables}`,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
};
