// Owns the `source:` part of a pipeline file for PostgreSQL: what may be said, the defaults, and what follows
// from the pipeline's name. Secrets arrive resolved. Opens nothing.
import { z } from 'zod';
import type { SourceContext } from '../../src/connector.ts';
import { type ColumnRules, DEFAULT_FORMATS, type Formats } from '../../src/topic/format.ts';
import { type ConnectionSettings, parseConnection } from './connection.ts';
import type { PublicationOptions } from './publication.ts';

const publication = z.strictObject({
  name: z.string().min(1).max(63).optional().describe('Name of the publication; varve_<pipeline> if absent.'),
  create: z
    .enum(['auto', 'never'])
    .default('auto')
    .describe('auto: made and extended by Varve. never: made by you, checked by Varve.'),
});

const tls = z.union([
  z.boolean(),
  z.strictObject({
    verify: z
      .enum(['full', 'ca', 'none'])
      .default('full')
      .describe('full: authority and host name; ca: authority only; none: encrypted, but to anybody.'),
    ca: z.string().optional().describe('PEM text of the authority that signed the server certificate.'),
    cert: z.string().optional().describe('PEM text of a client certificate.'),
    key: z.string().optional().describe('PEM text of its private key.'),
  }),
]);

const schema = z
  .strictObject({
    kind: z.literal('postgres').describe('The database that is the source.'),
    url: z
      .string()
      .min(1)
      .optional()
      .describe('postgres://user:password@host:5432/database?sslmode=verify-full'),
    host: z.string().min(1).optional().describe('Host name, address, or folder of a Unix socket.'),
    port: z.number().int().min(1).max(65_535).optional().describe('Port; 5432 if absent.'),
    database: z.string().min(1).optional().describe('The one database to capture.'),
    user: z.string().min(1).optional().describe('A role with REPLICATION and SELECT on the tables.'),
    password: z
      .string()
      .optional()
      .describe('Its password; best a reference to the environment or to a file.'),
    tls: tls.optional().describe('true: the server must prove who it is; or what to check and with what.'),
    tables: z
      .array(z.string().min(1))
      .min(1)
      .describe('Patterns schema.table with * and ?; a leading ! takes tables out again.'),
    slot: z
      .string()
      .regex(/^[a-z0-9_]{1,63}$/, 'lower-case letters, digits and _, at most 63')
      .optional()
      .describe('Name of the replication slot; varve_<pipeline> if absent.'),
    publication: publication.default(publication.parse({})),
    on_rewrite: z
      .enum(['stop', 'ignore'])
      .default('stop')
      .describe('What to do when rows of a table were changed in a way that sends no events.'),
  })
  .refine((value) => value.url !== undefined || value.host !== undefined, {
    message: 'needs url, or host, database and user',
    path: ['url'],
  });

export type PostgresOptions = z.output<typeof schema>;
export const postgresOptions: z.ZodType<PostgresOptions> = schema;

/** Everything that the parts of this connector need to know, worked out once. */
export type Settings = {
  readonly connection: ConnectionSettings;
  readonly pipeline: string;
  /** Of every connection; tells our processes from others'. */
  readonly applicationName: string;
  readonly slot: string;
  readonly publication: PublicationOptions;
  readonly patterns: readonly string[];
  readonly onRewrite: 'stop' | 'ignore';
  readonly formats: Formats;
  /** What is hidden of columns. */
  readonly rules: ColumnRules;
};

/** Throws `config_invalid` for an address that cannot be read. */
export const resolveOptions = (options: PostgresOptions, context: SourceContext): Settings => {
  const { pipeline, formats = DEFAULT_FORMATS, columns: rules = {} } = context;
  const own = `varve_${pipeline}`;
  const { publication: asked, tls: tlsAsked, ...address } = options;
  const tlsParts = typeof tlsAsked === 'object' ? definedOnly(tlsAsked) : tlsAsked;
  return {
    connection: parseConnection({ ...address, tls: tlsParts }),
    pipeline,
    applicationName: own,
    slot: options.slot ?? own,
    publication: { name: asked.name ?? own, create: asked.create, pipeline },
    patterns: options.tables,
    onRewrite: options.on_rewrite,
    formats,
    rules,
  };
};

const definedOnly = ({ verify, ca, cert, key }: Exclude<z.output<typeof tls>, boolean>) => ({
  verify,
  ...(ca === undefined ? {} : { ca }),
  ...(cert === undefined ? {} : { cert }),
  ...(key === undefined ? {} : { key }),
});
