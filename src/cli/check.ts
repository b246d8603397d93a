// Owns `varve check`: what source, topic and tables still lack, each with what mends it. Changes nothing but
// for a file that it writes where the tables are, and takes away again.
import { checkTable } from './check-table.ts';
import { argument, type Command, openSource, readPipeline } from './command.ts';

const MARKS = { ok: 'ok', warning: 'warn', error: 'FAIL' } as const;

export const check: Command = {
  name: 'check',
  usage: 'check FILE [--json]',
  summary: 'says what the source, the topic and the tables still lack',
  async run(context) {
    const { output } = context;
    const config = await readPipeline(context, argument(context, 0));
    const source = await openSource(context, config);
    try {
      const topic = await context.topics(config.topic.kind);
      const findings = [
        ...(await source.check()),
        ...(await topic.check(config)),
        ...(await checkTable(config)),
      ];
      for (const finding of findings) {
        const paint =
          finding.level === 'ok' ? output.good : finding.level === 'error' ? output.bad : output.dim;
        const fix = finding.fix === null ? '' : `\n      ${finding.fix.replaceAll('\n', '\n      ')}`;
        output.result(finding, `${paint(MARKS[finding.level].padEnd(4))}  ${finding.what}${fix}`);
      }
      return findings.some(({ level }) => level === 'error') ? 3 : 0;
    } finally {
      await source.close();
    }
  },
};
