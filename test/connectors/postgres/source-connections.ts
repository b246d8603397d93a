// How tests open the connector's own connections to a test server.
import type pg from 'pg';
import {
  type ConnectionSettings,
  openClient,
  parseConnection,
} from '../../../connectors/postgres/connection.ts';
import type { TestPostgres } from '../../support/postgres.ts';

const APPLICATION_NAME = 'varve_test';

const connectionOf = (server: TestPostgres): ConnectionSettings => parseConnection({ url: server.url });

/** A connection like the connector's own; the caller ends it. */
export const openOwn = (
  server: TestPostgres,
  { replication }: { replication: boolean },
): Promise<pg.Client> =>
  openClient(connectionOf(server), {
    applicationName: APPLICATION_NAME,
    statementTimeoutMs: 0,
    replication,
  });

/** Ends them all, however the test ends. */
export const withClients = async <Result>(
  server: TestPostgres,
  use: (side: pg.Client, replication: pg.Client) => Promise<Result>,
): Promise<Result> => {
  const side = await openOwn(server, { replication: false });
  const replication = await openOwn(server, { replication: true });
  try {
    return await use(side, replication);
  } finally {
    await Promise.all([side.end(), replication.end()]);
  }
};
