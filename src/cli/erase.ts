// Owns `varve erase`: what is about to go is said first, then it goes from the table, and what cannot go is
// named with the time until which it stays.
import { createInterface } from 'node:readline/promises';
import { VarveError } from '../errors.ts';
import { keyTextOf } from '../sinks/parquet/engine/key-text.ts';
import { eraseRows } from '../sinks/parquet/erase.ts';
import { openErasure } from '../sinks/parquet/erase-open.ts';
import { type Asking, asking, flagText } from './asked.ts';
import { argument, type Command, type Context } from './command.ts';
import { type Planned, plannedFacts, plannedText, remainsText } from './erase-plan.ts';
import { beginRecord } from './erase-record.ts';
import { writeTombstones } from './erase-topic.ts';
import { type Erasing, makePlan } from './erase-wanted.ts';
import { type EraseWriter, openEraseWriter } from './erase-writer.ts';

/** Throws `usage` unless somebody means it. */
const demandConsent = async ({ flags, output }: Context, { name }: Planned): Promise<void> => {
  if (flags.yes === true) return;
  if (process.stdin.isTTY !== true || output.json)
    throw new VarveError('usage', 'Nothing was erased. This cannot be taken back: say --yes if it is meant.');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const said = await prompt.question(`This cannot be taken back. Type ${name} to erase: `);
  prompt.close();
  if (said.trim() !== name) throw new VarveError('usage', 'Nothing was erased.');
};

const incomplete = (name: string, findings: readonly string[], record: string): VarveError =>
  new VarveError(
    'erase_incomplete',
    `${name}: the erasure has left something: ${findings.slice(0, 5).join('; ')}` +
      `${findings.length > 5 ? `; and ${findings.length - 5} more` : ''}. Erase again; record: ${record}.`,
    { facts: { findings: findings.length, record } },
  );

const erasePlanned = async (
  { context, table, open }: Erasing,
  { planned, config, writer }: { planned: Planned; config: Asking['config']; writer: EraseWriter },
): Promise<void> => {
  const { output } = context;
  const { plan, held, blank } = planned;
  const record = await beginRecord(open.io.store, open.location, {
    table: table.name,
    pipeline: config.name,
    reason: flagText(context, 'reason'),
    by_condition: flagText(context, 'where') !== null,
    keys: plan.erased.keys.map(keyTextOf),
    planned: plannedFacts(planned),
  });
  const report = await eraseRows(open, plan);
  const tombstones =
    blank === null ? await writeTombstones(table.topic, held, { writer, nowMs: Date.now() }) : 0;
  const { findings, files, bounds } = report.proof;
  const remains = remainsText(config, planned);
  const done = {
    table: table.name,
    state: findings.length === 0 ? 'proved' : 'incomplete',
    rows: report.rows,
    files_rewritten: report.rewritten,
    files_deleted: report.deleted,
    snapshots_expired: report.snapshotsExpired,
    snapshot: String(report.snapshotId),
    tombstones,
    proof: { files, bounds, findings },
    remains,
  };
  await record.finish({ ...done, finished_at: new Date().toISOString() });
  if (findings.length > 0) throw incomplete(table.name, findings, record.uri);
  output.result(
    { ...done, record: record.uri },
    `${table.name}: ${report.rows} rows ${blank === null ? 'erased' : `without ${blank.join(', ')}`}; ` +
      `${report.rewritten} files rewritten, ${report.deleted} deleted; ${tombstones} tombstones written\n` +
      `every row of the ${files} files that are left, and ${bounds} bounds of manifests, hold none of it\n` +
      `record: ${record.uri}`,
  );
  for (const line of remains) output.note(line);
};

const run = async (context: Context, all: Asking): Promise<number> => {
  const { config } = all;
  const { flags, output } = context;
  if (config.table === undefined) throw new VarveError('internal', 'A question was asked without a table.');
  const table = await all.find(argument(context, 1));
  const [namespace = '', name = ''] = table.records.at(-1)?.table ?? [];
  const isMeant = flags['dry-run'] !== true && (flags.yes === true || process.stdin.isTTY === true);
  const writer = isMeant ? await openEraseWriter(context, config) : null;
  try {
    const options = { pipeline: config.name, memoryBytes: config.table.memory_limit };
    await using open = await openErasure(config.table, { namespace, name }, options);
    const erasing = { context, all, table, open };
    const planned = await makePlan(erasing);
    if (flags['dry-run'] === true) {
      output.result(plannedFacts(planned), plannedText(config, planned).join('\n'));
      return 0;
    }
    for (const line of plannedText(config, planned)) output.note(line);
    await demandConsent(context, planned);
    if (writer === null)
      throw new VarveError('internal', 'An erasure that is meant has no way to the topic.');
    await erasePlanned(erasing, { planned, config, writer });
    return 0;
  } finally {
    await writer?.close();
  }
};

export const erase: Command = {
  name: 'erase',
  usage: 'erase FILE TABLE KEY.. | --where SQL [--blank COLUMN,..] [--reason TEXT] [--dry-run] [--yes]',
  summary: 'takes every version of a row out of a table and its files, for good',
  details:
    'KEY is the key columns of one row in their order; SQL finds the keys of all rows of which any\n' +
    'version matches. --blank keeps the rows, with these columns NULL. Older snapshots expire,\n' +
    'and their files go at once. --dry-run says what would be done.\n',
  options: {
    where: { type: 'string' },
    blank: { type: 'string' },
    reason: { type: 'string' },
    'dry-run': { type: 'boolean' },
    yes: { type: 'boolean' },
  },
  run: (context) => asking(context, (all) => run(context, all)),
};
