// Owns `varve export`: a table's rows as plain Parquet files, for those without Iceberg.
import { tableChoices } from '../config-table.ts';
import { VarveError } from '../errors.ts';
import { exportTable } from '../sinks/parquet/export.ts';
import { openExportPlace } from '../sinks/parquet/export-place.ts';
import { type Asking, asking, flagText, type NamedTable } from './asked.ts';
import { argument, type Command, type Context } from './command.ts';
import { NOW, readMoment, readSnapshot, type SaidMoment } from './moment.ts';
import { shapeAt } from './shape.ts';

type Wanted = { said: SaidMoment; isHistory: boolean };

const readWanted = (context: Context): Wanted => {
  const { current, history } = context.flags;
  const [at, snapshot] = [flagText(context, 'at'), flagText(context, 'snapshot')];
  if (at !== null && snapshot !== null)
    throw new VarveError('usage', 'Say --at or --snapshot: each of them is a moment.');
  if (current === true && history === true)
    throw new VarveError('usage', 'Say --current, which is what is meant without either, or --history.');
  if (at !== null && history === true)
    throw new VarveError(
      'usage',
      '--at shows the rows of a moment, --history every version: say one of them.',
    );
  const said =
    at !== null ? readMoment(at, '--at') : snapshot === null ? NOW : readSnapshot(snapshot, '--snapshot');
  return { said, isHistory: history === true };
};

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const run = async (context: Context, all: Asking): Promise<number> => {
  const { flags, output } = context;
  const { config, queries } = all;
  const to = flagText(context, 'to');
  if (to === null || to === '')
    throw new VarveError('usage', 'Say --to: a directory, or s3://bucket/prefix, that is empty.');
  if (config.table === undefined) throw new VarveError('internal', 'A question was asked without a table.');
  const { said, isHistory } = readWanted(context);
  const table = await all.find(argument(context, 1));
  const then: NamedTable =
    said.snapshot === null ? table : { ...table, ...(await queries.openAt(table, said.snapshot)) };
  const [namespace = '', name = ''] = table.records.at(-1)?.table ?? [];
  const choices = tableChoices(config.table, [namespace, name]);
  const place = await openExportPlace(to, config.table);
  try {
    const manifest = await exportTable(
      {
        table: then,
        layout: isHistory ? then.layout : await shapeAt(all, then, said),
        rows: isHistory ? { kind: 'versions' } : said.moment,
        // `multiple` makes a list of it.
        partitionBy: (flags['partition-by'] ?? []) as unknown as readonly string[],
        fileBytes: choices.target_file_size,
        compression: choices.compression,
        memoryBytes: config.table.memory_limit,
        about: {
          table: table.name,
          pipeline: config.name,
          topic: table.topic,
          exported_at: new Date().toISOString(),
        },
        onProgress: ({ files, bytes }) =>
          output.progress(`${table.name}: ${files} files, ${megabytes(bytes)} written`),
      },
      place,
    );
    const { rows, bytes, files } = manifest;
    output.result(
      { table: table.name, to: place.text, rows, bytes, files: files.length },
      `${table.name}: ${rows} rows in ${files.length} files (${megabytes(bytes)}) in ${place.text}`,
    );
    return 0;
  } finally {
    await place.close();
  }
};

export const exportCommand: Command = {
  name: 'export',
  usage:
    'export FILE TABLE --to DIR|s3://.. [--at TIME|ORDER | --snapshot ID] ' +
    '[--history] [--partition-by COLUMN]..',
  summary: 'writes a table as plain Parquet files, with a manifest',
  details:
    'COLUMN may also be day(column) or hour(column). The place must be empty. It is filled at once, or\n' +
    'not at all: manifest.json names all files, with rows, bytes and sha256. A time without a zone is UTC.\n',
  options: {
    to: { type: 'string' },
    at: { type: 'string' },
    snapshot: { type: 'string' },
    current: { type: 'boolean' },
    history: { type: 'boolean' },
    'partition-by': { type: 'string', multiple: true },
  },
  run: (context) => asking(context, (all) => run(context, all)),
};
