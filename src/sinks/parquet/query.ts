// Owns asking a table: the rows that stood at a time or an order, and one key's whole life. Reads only.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VarveError } from '../../errors.ts';
import { Engine } from './engine/engine.ts';
import type { QueryRequest, QueryResult } from './engine/protocol.ts';
import type { IcebergField } from './iceberg-type.ts';
import { storedFiles } from './stored-table.ts';
import { findTable, type TableName } from './summary.ts';

export type Question = Pick<QueryRequest, 'rows' | 'where' | 'limit'>;

export type Answer = QueryResult & { fields: readonly IcebergField[] };

const ENGINE = { memoryLimit: '1GB', threads: 2, idleMs: 1000 } as const;

/** Starts an engine for one question. Throws `usage` for a table that is not there yet. */
export const askTable = async (directory: string, table: TableName, question: Question): Promise<Answer> => {
  const found = await findTable(directory, table);
  if (found === null) {
    throw new VarveError('usage', `${table.namespace}.${table.name} has no table yet: varve run folds it.`);
  }
  const { io, state } = found;
  const scratch = await mkdtemp(join(tmpdir(), 'varve-query-'));
  const engine = new Engine({ ...ENGINE, directory: scratch });
  try {
    const request: QueryRequest = { ...question, ...(await storedFiles(io.store, state)) };
    const refuse = (): never => {
      throw new VarveError('internal', 'A query asked for a schema of the topic.');
    };
    const localCopy = (uri: string): Promise<string> => io.store.localCopy(uri);
    const result = await engine.query(request, { localCopy, schema: refuse });
    return { ...result, fields: request.layout.fields };
  } finally {
    await engine[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true, force: true });
  }
};
