// Owns `varve status`: reads what is durable, so it answers whether the daemon runs or not.
import { existsSync } from 'node:fs';
import { pipelineStatus } from '../status.ts';
import { argument, type Command, readPipeline } from './command.ts';
import { openFeed } from './open-topic.ts';

const ageText = (ms: number | null): string =>
  ms === null ? '' : ms < 10_000 ? `${ms} ms` : `${Math.round(ms / 1000)} s`;

const KILLED =
  'The process that ran it is gone without a word: killed, or the machine went down. ' +
  'Nothing is lost; varve run goes on.';

export const status: Command = {
  name: 'status',
  usage: 'status FILE [--json]',
  summary: 'state, reason, tables, positions and lag; works while the daemon runs and when it does not',
  async run(context) {
    const { output } = context;
    const config = await readPipeline(context, argument(context, 0));
    if (config.topic.kind === 'embedded' && !existsSync(config.topic.path)) {
      output.result(
        { name: config.name, state: 'new', tables: [] },
        `${config.name}: never started (no ${config.topic.path})`,
      );
      return 0;
    }
    const feed = await openFeed(context, config);
    try {
      const found = await pipelineStatus(config, feed, Date.now());
      const pid = await (await context.topics(config.topic.kind)).findRunner(config);
      const isLost = pid === null && (found.state === 'running' || found.state === 'retrying');
      const standing = isLost ? { state: 'killed', reason: null, sentence: KILLED } : found;
      const { state, reason, sentence } = standing;
      const code = state === 'failed' || isLost ? 1 : 0;
      if (output.json) {
        output.result({ ...found, state, reason, sentence, pid: pid ? Number(pid) : null }, '');
        return code;
      }
      const paint = code === 1 ? output.bad : output.good;
      const newest =
        found.newestChangeAgeMs === null ? '' : `, newest change ${ageText(found.newestChangeAgeMs)} ago`;
      const process = pid ? `  process ${pid}` : '';
      const why = reason === null ? '' : ` (${reason})`;
      output.result({}, `${found.name}  ${paint(state)}${why}${process}  at ${found.resume ?? '-'}${newest}`);
      if (sentence !== null) output.result({}, sentence);
      output.table(
        ['table', 'snapshot', 'records', 'waiting', 'rows', 'versions', 'files', 'committed'],
        found.tables.map(({ table, snapshot, end, waiting, summary }) => [
          table,
          snapshot,
          end,
          waiting,
          summary?.currentRows ?? null,
          summary?.rows ?? null,
          summary?.files ?? null,
          summary?.committedAtMs ? new Date(summary.committedAtMs).toISOString() : null,
        ]),
      );
      for (const { table, blocked } of found.tables)
        if (blocked !== null) output.result({}, `${output.bad(`${table} is blocked`)}: ${blocked}`);
      for (const { table, summary } of found.tables)
        if (summary?.pausedSince)
          output.result(
            {},
            `${output.bad(`${table} is paused`)} since ${summary.pausedSince}: ` +
              `varve resume ${config.file} ${table}`,
          );
      return code;
    } finally {
      await feed.close();
    }
  },
};
