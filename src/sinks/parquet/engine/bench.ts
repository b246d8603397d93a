// Owns what one merge works with, and laying it out.
import { fieldOfColumn } from '../columns-layout.ts';
import { Decoder } from './decode.ts';
import type { EngineContext } from './engine-context.ts';
import { LiveFiles } from './live-files.ts';
import { OutputFiles } from './output-files.ts';
import type { MergeRequest } from './protocol.ts';
import { RowStore } from './row-store.ts';
import { TableFields } from './table-fields.ts';

export type Bench = {
  request: MergeRequest;
  context: EngineContext;
  fields: TableFields;
  store: RowStore;
  /** Has read all batches of the request. */
  decoder: Decoder;
  files: LiveFiles;
  output: OutputFiles;
};

/** Reads the request's batches. Throws `schema_unknown`, `record_corrupt`. */
export const openBench = async (request: MergeRequest, context: EngineContext): Promise<Bench> => {
  const { database, directory, askLocal, askSchema } = context;
  const { layout, commit, location, spec } = request;
  const fields = new TableFields(layout);
  const shapes = request.schemas.map(({ first, columns }) => ({
    first,
    fields: new Set(columns.map((column) => fieldOfColumn(layout, column)?.id)),
  }));
  const store = new RowStore(fields.user, shapes);
  const decoder = new Decoder(request, store, askSchema);
  await decoder.readAll(request.batches);
  const files = new LiveFiles(database, askLocal, request.deletes);
  await files.prepare();
  const output = new OutputFiles(database, { commit, location, directory, spec });
  return { request, context, fields, store, decoder, files, output };
};
