// Owns `varve status`: reads what is durable, so it answers whether the daemon runs or not.
import { existsSync } from 'node:fs';
import { pipelineStatus } from '../status.ts';
import { argument, type Command, readPipeline } from './command.ts';
import { openFeed } from './open-topic.ts';

const ageText = (ms: number | null): string =>
  ms === null ? '' : ms < 10_000 ? `${ms} ms` : `${Math.round(ms / 1000)} s`;

export const status: Command = {
  name: 'status',
  usage: 'status FILE [--json]',
  summary: 'state, reason, tables, positions and lag; works while the daemon runs and when it does not',
  async run(context) {
    const { output } = context;
    const config = await readPipeline(context, argument(context, 0));
    if (!existsSync(config.topic.path)) {
      output.result(
        { name: config.name, state: 'new', tables: [] },
        `${config.name}: never started (no ${config.topic.path})`,
      );
      return 0;
    }
    const feed = await openFeed(config);
    try {
      const found = await pipelineStatus(config, feed, Date.now());
      if (output.json) {
        const tables = found.tables.map((table) => ({
          ...table,
          summary: table.summary && { ...table.summary, offsets: Object.fromEntries(table.summary.offsets) },
        }));
        output.result({ ...found, tables }, '');
        return found.state === 'failed' ? 1 : 0;
      }
      const paint = found.state === 'failed' ? output.bad : output.good;
      const newest =
        found.newestChangeAgeMs === null ? '' : `, newest change ${ageText(found.newestChangeAgeMs)} ago`;
      output.result(
        {},
        `${found.name}  ${paint(found.state)}${found.reason === null ? '' : ` (${found.reason})`}  at ${found.resume ?? '-'}${newest}`,
      );
      if (found.sentence !== null) output.result({}, found.sentence);
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
      return found.state === 'failed' ? 1 : 0;
    } finally {
      await feed.close();
    }
  },
};
