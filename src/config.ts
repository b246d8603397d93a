// Owns what a pipeline file may say: one schema, from which the types, the defaults, the checks and the
// editors' JSON Schema come. Knows no database: the `source:` part is the connector's. `topic:`,
// `table:` and `columns:` are in files beside it; reading the file is config-file.ts's.
import { z } from 'zod';
import { columnsSchema } from './config-columns.ts';
import { type TableConfig, tableSchema } from './config-table.ts';
import { type TopicConfig, topicSchema } from './config-topic.ts';
import type { ColumnRules } from './topic/format.ts';

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d{1,5}$/;

const snapshot = z.strictObject({
  mode: z
    .enum(['initial', 'never'])
    .default('initial')
    .describe('initial: read the tables once before streaming.'),
  parallel: z.number().int().min(1).max(16).default(2).describe('Connections that read at once.'),
});

const http = z.strictObject({
  listen: z
    .string()
    .regex(LOOPBACK, 'a loopback address and port, such as 127.0.0.1:7077: without tokens no other is safe')
    .refine((address) => Number(address.split(':').at(-1)) < 65_536, 'a port is below 65536')
    .default('127.0.0.1:7077')
    .describe('Address of health, metrics and status.'),
});

const log = z.strictObject({
  level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('Least level that is logged.'),
});

/** The whole file's schema, with the chosen connector's part in its place. */
export const configSchema = <Options>(source: z.ZodType<Options>) =>
  z.strictObject({
    name: z
      .string()
      .regex(/^[a-z][a-z0-9_]{0,39}$/, 'lower-case letters, digits and _, a letter first, at most 40')
      .describe('Name of the pipeline; topics and everything it makes in the source derive from it.'),
    source,
    topic: topicSchema.default(topicSchema.parse({})),
    columns: columnsSchema,
    table: tableSchema.optional().describe('Absent: topic only.'),
    snapshot: snapshot.default(snapshot.parse({})),
    http: http.optional().describe('Absent: no HTTP.'),
    log: log.default(log.parse({})),
  });

/** A resolved file: every default visible, references replaced, paths absolute. */
export type Config<Options = unknown> = Readonly<{
  name: string;
  source: Options;
  topic: TopicConfig;
  /** By `schema.table.column`. */
  columns: ColumnRules;
  table: TableConfig | undefined;
  snapshot: Readonly<z.output<typeof snapshot>>;
  http: Readonly<z.output<typeof http>> | undefined;
  log: Readonly<z.output<typeof log>>;
  /** The file, absolute. */
  file: string;
  /** Values that came from references, and passwords: never to be printed. */
  secrets: readonly string[];
}>;

/** JSON Schema (2020-12) for editors. */
export const jsonSchema = (sources: readonly z.ZodType<unknown>[]): object => {
  const [first, ...rest] = sources;
  if (first === undefined) throw new RangeError('no connector');
  const source = rest.length === 0 ? first : z.union([first, ...rest]);
  return { title: 'Varve pipeline', ...z.toJSONSchema(configSchema(source), { io: 'input' }) };
};
