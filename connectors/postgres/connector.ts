// The PostgreSQL connector, as main.ts loads it.
import type { Connector } from '../../src/connector.ts';
import { type PostgresOptions, postgresOptions } from './options.ts';
import { openSource } from './source.ts';

export const connector: Connector<PostgresOptions> = {
  kind: 'postgres',
  options: postgresOptions,
  open: openSource,
};
