// Owns the PostgreSQL source as the pipeline sees it: puts slot, publication, snapshot, log and checks
// together. Lives for one attempt: what breaks a connection of it is mended by opening another source.
import type { TableName, TableSchema } from '../../src/change/schema.ts';
import type { Source, SourceContext } from '../../src/connector.ts';
import { covers, distance, formatPlace, parsePlace, placeAt } from './log-place.ts';
import { type PostgresOptions, resolveOptions } from './options.ts';
import { runPreflight } from './preflight.ts';
import { makeSourceBlock, makeSourcePosition } from './source-block.ts';
import { SourceClients } from './source-clients.ts';
import { verifyContinuity } from './source-continuity.ts';
import { SourceMemory } from './source-memory.ts';
import * as objects from './source-objects.ts';
import { openSourceSnapshot } from './source-snapshot.ts';
import { WatchedLog } from './source-watch.ts';

/** Connects and returns. Throws `config_invalid`, `source_unreachable` or `source_denied`. */
export const openSource = async (options: PostgresOptions, context: SourceContext): Promise<Source> => {
  const settings = resolveOptions(options, context);
  const clients = new SourceClients(settings, context.knownSchema ?? (() => null));
  await clients.ask('connecting', (side) => side.query('SELECT 1'));
  return makeSource(clients, context);
};

const makeSource = (clients: SourceClients, context: SourceContext): Source => {
  const { settings } = clients;
  const memory = new SourceMemory(clients);
  const position = makeSourcePosition();
  const { connection, pipeline, onRewrite } = settings;

  const listTables = async (): Promise<TableSchema[]> => {
    const found = await (await clients.catalog()).tables();
    return found.map(({ table }) => table.schema);
  };
  const listNames = async (): Promise<TableName[]> => (await listTables()).map(({ name }) => name);

  const request = clients.logRequest(context.now);

  const openLog = (): WatchedLog =>
    new WatchedLog({
      log: {
        ...request,
        position,
        onStarted: () => void clients.claim.release(),
        resolve: async (relation) => (await clients.catalog()).resolve(relation),
      },
      facts: memory.facts,
      tables: listNames,
      look: memory.look,
      onRewrite,
      warn: (message) => context.log('warn', message),
    });

  return {
    block: makeSourceBlock({ pipeline, database: connection.database }, position),
    identity: async () => memory.print(await listNames()),
    verifyIdentity: (stored) => memory.verify(stored),
    tables: listTables,
    check: async () => {
      const names = await listNames();
      return clients.ask('checking the source', (side) => runPreflight(side, settings, names));
    },
    prepare: (tables) => objects.preparePublication(clients, tables),
    dropUnused: () => objects.removeSlot(clients),
    claim: () => clients.claim.take(),
    isFresh: async () => !(await objects.hasSlot(clients)),
    beginSnapshot: (request) => openSourceSnapshot({ clients, memory, position, ...request, beside: false }),
    snapshotMore: (request) => openSourceSnapshot({ clients, memory, position, ...request, beside: true }),
    beginLog: () => objects.makeSlot(clients),
    verifyResume: (after) =>
      verifyContinuity(clients, { place: parsePlace(after), request, stored: memory.stored }),
    log: openLog,
    end: async () => formatPlace(placeAt(await clients.ask('asking where the log ends', objects.readEnd))),
    covers,
    distance,
    reset: async () => {
      await objects.removeSlot(clients);
      await objects.removePublication(clients);
    },
    close: () => clients.close(),
  };
};
