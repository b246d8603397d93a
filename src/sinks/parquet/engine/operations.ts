// Owns which operation is whose, and the database that those share which change a table. Speaks to nobody.
import { runComparison } from './comparison.ts';
import { Database } from './database.ts';
import type { EngineContext } from './engine-context.ts';
import { runEraseKeys } from './erase-keys.ts';
import { runEraseRows, runEraseState } from './erase-rows.ts';
import { runEraseScan } from './erase-scan.ts';
import { runExport } from './export.ts';
import { runMerge } from './merge.ts';
import type { EngineSettings, Operations, ToEngine } from './protocol.ts';
import { runQuery } from './query.ts';
import { runRewrite } from './rewrite.ts';

type Run = Pick<Extract<ToEngine, { kind: 'run' }>, 'operation' | 'request'>;
type Asks = Pick<EngineContext, 'askLocal' | 'askSchema'>;

let database: Promise<Database> | null = null;
/** Questions have databases of their own: whoever only asks does not wait for this one. */
const openDatabase = (settings: EngineSettings): Promise<Database> => {
  database ??= Database.open(settings);
  return database;
};

/** Throws what the engine's library says, or a VarveError. */
export const runOperation = async (
  { operation, request }: Run,
  { askLocal, askSchema }: Asks,
  settings: EngineSettings,
): Promise<Operations[Run['operation']]['result']> => {
  if (operation === 'query')
    return await runQuery(request as Operations['query']['request'], { askLocal }, settings);
  if (operation === 'compare')
    return await runComparison(request as Operations['compare']['request'], { askLocal }, settings);
  if (operation === 'export')
    return await runExport(request as Operations['export']['request'], { askLocal }, settings);
  if (operation === 'eraseKeys')
    return await runEraseKeys(request as Operations['eraseKeys']['request'], { askLocal }, settings);
  const { directory } = settings;
  const context: EngineContext = { database: await openDatabase(settings), directory, askLocal, askSchema };
  switch (operation) {
    case 'merge':
      return await runMerge(request as Operations['merge']['request'], context);
    case 'rewrite':
      return await runRewrite(request as Operations['rewrite']['request'], context);
    case 'eraseScan':
      return await runEraseScan(request as Operations['eraseScan']['request'], context);
    case 'eraseRows':
      return await runEraseRows(request as Operations['eraseRows']['request'], context);
    case 'eraseState':
      return await runEraseState(request as Operations['eraseState']['request'], context);
  }
};
