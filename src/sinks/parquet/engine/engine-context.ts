// Owns what every operation of the engine works with.
import type { Database } from './database.ts';

export type EngineContext = {
  database: Database;
  /** Where finished files wait to be adopted. */
  directory: string;
  /** The path on this machine of a file of the table. */
  askLocal: (uri: string) => Promise<string>;
  /** Avro schema text. Throws `schema_unknown`. */
  askSchema: (id: number) => Promise<string>;
};
