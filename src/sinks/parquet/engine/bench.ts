// Owns what one merge works with, and laying it out.
import { fieldOfColumn, presentNames } from '../columns-layout.ts';
import { EventCollector } from './changes.ts';
import { Decoder } from './decode.ts';
import type { EngineContext } from './engine-context.ts';
import { EventStage } from './event-stage.ts';
import { PastRows } from './latest-past.ts';
import { LiveFiles } from './live-files.ts';
import { OutputFiles } from './output-files.ts';
import type { MergeRequest } from './protocol.ts';
import { RowStore, type Shape } from './row-store.ts';
import { SchemaBook } from './schema-book.ts';
import { TableFields, UNSTORED } from './table-fields.ts';

export type Bench = {
  request: MergeRequest;
  context: EngineContext;
  fields: TableFields;
  /** What the source had, from when on; oldest first. */
  shapes: readonly Shape[];
  /** Images of the keys that need the rules. */
  store: RowStore;
  stage: EventStage;
  /** Has read all batches of the request. */
  decoder: Decoder;
  files: LiveFiles;
  output: OutputFiles;
  /** Of a table in latest mode. */
  past: PastRows | null;
};

/** Reads the request's batches. Throws `schema_unknown`, `record_corrupt`. */
export const openBench = async (request: MergeRequest, context: EngineContext): Promise<Bench> => {
  const { database, directory, askLocal, askSchema } = context;
  const { layout, commit, location, spec, format } = request;
  const isLatest = layout.mode === 'latest';
  const fields = new TableFields(layout, isLatest ? UNSTORED : []);
  const shapes = request.schemas.map(({ first, columns }) => ({
    first,
    fields: new Set(columns.map((column) => fieldOfColumn(layout, column)?.id)),
  }));
  const store = new RowStore(fields.user, shapes, presentNames(layout));
  const stage = new EventStage(database, fields, request);
  const book = new SchemaBook(layout, request.schemas, askSchema);
  const { truncates } = request.rules;
  const collector = new EventCollector({ fields, stage, book, layout, truncates });
  const decoder = new Decoder(request, collector, book);
  await stage.fill(() => decoder.readAll(request.batches));
  const files = new LiveFiles(database, askLocal, request.deletes);
  await files.prepare();
  const output = new OutputFiles(database, { commit, location, directory, spec, format });
  const past = isLatest ? new PastRows(database, fields) : null;
  await past?.prepare();
  return { request, context, fields, shapes, store, stage, decoder, files, output, past };
};
