// Owns `varve why`: which transaction of the source, which record of the topic, which commit and file of the
// table made one version of a row, and what ended it.
import { parseOrder } from '../change/order.ts';
import type { FoundCommit } from '../sinks/parquet/iceberg/past-state.ts';
import { readKeyValues } from '../sinks/parquet/query-text.ts';
import { type Asking, asking } from './asked.ts';
import { choiceOf, findVersion } from './chosen-version.ts';
import { argument, type Command } from './command.ts';
import type { Output } from './output.ts';
import { type Provenance, provenanceOf } from './provenance.ts';
import { keyFields, keyText, rowJson } from './row-text.ts';
import { commitText, type Explained, type Fact, factsOf, fileFacts, timeOf } from './why-facts.ts';

const commitJson = (commit: FoundCommit | string): object => {
  if (typeof commit === 'string') return { known: false, why: commit };
  if (commit.kind !== 'found') return { known: false, why: commitText(commit, null) };
  const { snapshot } = commit;
  return {
    known: true,
    snapshot_id: BigInt(snapshot['snapshot-id']).toString(),
    operation: snapshot.summary.operation ?? null,
    at: timeOf(snapshot),
  };
};

const provenanceJson = ({ topic, commit }: Provenance, name: string): object => ({
  topic:
    typeof topic === 'string'
      ? { known: false, why: topic }
      : { known: true, name, partition: topic.partition, offset: Number(topic.offset), op: topic.op },
  source: typeof topic === 'string' ? null : topic.source,
  commit: commitJson(commit),
});

const explainedJson = (all: Asking, { table, version, made, ended }: Explained): object => {
  const { epoch, position, ordinal } = parseOrder(version.order);
  const { path, snapshotId, writer } = fileFacts(all, table, version.file);
  return {
    table: table.name,
    row: rowJson(version.values, table.layout.fields),
    transaction: { id: version.tx, epoch, position: `0x${position.toString(16)}`, ordinal },
    ...provenanceJson(made, table.topic),
    file: {
      path,
      snapshot_id: snapshotId === null ? null : snapshotId.toString(),
      operation: writer?.summary.operation ?? null,
      at: writer === null ? null : timeOf(writer),
    },
    ended: ended === null ? null : provenanceJson(ended, table.topic),
  };
};

const print = (output: Output, facts: readonly Fact[]): void => {
  const width = Math.max(...facts.map(([label]) => label.length));
  for (const [label, text] of facts) output.result({}, `${output.dim(label.padEnd(width))}  ${text}`);
};

export const why: Command = {
  name: 'why',
  usage: 'why FILE TABLE KEY.. [--order ORDER | --at TIME] [--explain]',
  summary: 'shows where a version of a row came from: transaction, topic, commit, file',
  details: 'Without --order and --at: the newest version. What is not known any more is said to be so.\n',
  options: { order: { type: 'string' }, at: { type: 'string' }, explain: { type: 'boolean' } },
  run(context) {
    argument(context, 2);
    const choice = choiceOf(context);
    const { output } = context;
    return asking(context, async (all) => {
      const table = await all.find(argument(context, 1));
      const key = readKeyValues(context.arguments.slice(2), keyFields(table.layout));
      const version = await findVersion(all, { table, key, choice });
      const { order, orderEnd, closedBy } = version;
      const made = await provenanceOf(all, table, { order, key, isDelete: false });
      const isDelete = closedBy === 'd' || closedBy === 'k';
      // A sweep has no record of its own.
      const hasEnd = orderEnd !== null && closedBy !== 's';
      const ended = hasEnd ? await provenanceOf(all, table, { order: orderEnd, key, isDelete }) : null;
      const explained = { table, version, made, ended };
      if (output.json) output.result(explainedJson(all, explained), '');
      else {
        output.result({}, `${table.name} ${keyText(key, keyFields(table.layout))}`);
        print(output, factsOf(all, explained));
      }
      return 0;
    });
  },
};
