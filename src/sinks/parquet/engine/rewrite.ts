// Owns maintenance of data files: many of one partition become one, sorted, without the rows that were
// deleted. The rows stay the same.
import { VarveError } from '../../../errors.ts';
import type { EngineContext } from './engine-context.ts';
import { LiveFiles } from './live-files.ts';
import { OutputFiles } from './output-files.ts';
import type { RewriteRequest, RewriteResult } from './protocol.ts';
import { columnList, scanFiles } from './sql.ts';
import { TableFields } from './table-fields.ts';

/** Writes the live rows of the inputs, which share one partition tuple of one spec, to one file. */
export const runRewrite = async (request: RewriteRequest, context: EngineContext): Promise<RewriteResult> => {
  const { database, directory, askLocal } = context;
  const { commit, location, spec, inputs, layout } = request;
  const [first] = inputs;
  if (first === undefined) return { added: [] };
  const tuple = JSON.stringify([first.specId, first.partition]);
  if (inputs.some(({ specId, partition }) => JSON.stringify([specId, partition]) !== tuple))
    throw new VarveError('internal', 'Files of different partitions cannot be rewritten into one.');
  const fields = new TableFields(layout);
  const files = new LiveFiles(database, askLocal, request.deletes);
  await files.prepare();
  const opened = await files.open(inputs);
  const output = new OutputFiles(database, { commit, location, directory, spec });
  const scan = scanFiles(
    opened.map(({ local }) => local),
    fields.all,
  );
  const live =
    `(SELECT s.* FROM ${scan} s JOIN live_file l ON l.local = s.filename ` +
    'ANTI JOIN deleted_row d ON d.file = l.file AND d.pos = s.file_row_number)';
  const order = fields.column('_order');
  const sort = fields.key.length === 0 ? order : `${columnList(fields.key)}, ${order}`;
  const { partition, specId } = first;
  await output.writeData(live, { fields: fields.all, sort, partition, specId });
  return { added: output.files };
};
