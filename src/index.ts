// The public surface of the package: the words, the ports, and reading what Varve has published.
export type { ResumePoint } from './change/event.ts';
export {
  formatOrder,
  isOrder,
  type Order,
  type OrderParts,
  parseOrder,
  transactionOf,
} from './change/order.ts';
export type { Column, ConnectType, TableName, TableSchema } from './change/schema.ts';
export type { Connector, Source } from './connector.ts';
export { type ErrorKind, type Outcome, VarveError } from './errors.ts';
export { compileReader, FRAME_LENGTH, readSchemaId } from './topic/avro-read.ts';
export { codecById } from './topic/compression.ts';
export { openEmbeddedFeed } from './topic/embedded/feed.ts';
export type { Feed, FeedBatch } from './topic/feed.ts';
export { readRecords } from './topic/record-batch.ts';
export type { RecordView } from './topic/record-batch-view.ts';
