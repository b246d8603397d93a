// Owns what is said of a version's origin, fact by fact: known ones as they are, others as not known and why.
import { type Order, parseOrder } from '../change/order.ts';
import { type Snapshot, snapshotById } from '../sinks/parquet/iceberg/metadata.ts';
import type { FoundCommit } from '../sinks/parquet/iceberg/past-state.ts';
import type { Asking, NamedTable } from './asked.ts';
import type { LifeVersion } from './life.ts';
import type { Provenance } from './provenance.ts';
import { durationText, instantText } from './row-text.ts';

export type Fact = readonly [label: string, text: string];

export const timeOf = (snapshot: Snapshot): string => new Date(snapshot['timestamp-ms']).toISOString();

export const commitText = (commit: FoundCommit | string, commitTs: bigint | null): string => {
  if (typeof commit === 'string') return commit;
  if (commit.kind === 'none') return 'not known: the table does not say that it has folded this';
  if (commit.kind === 'expired')
    return (
      'not known any more: it is in the oldest snapshot that is kept already, ' +
      `${commit.oldest['snapshot-id']} of ${timeOf(commit.oldest)}`
    );
  const { snapshot } = commit;
  const lag = commitTs === null ? null : BigInt(snapshot['timestamp-ms']) * 1000n - commitTs;
  const behind = lag === null || lag < 0n ? '' : `, ${durationText(lag)} after the source`;
  const operation = snapshot.summary.operation ?? '?';
  return `snapshot ${snapshot['snapshot-id']} (${operation}) at ${timeOf(snapshot)}${behind}`;
};

const topicText = ({ topic }: Provenance, name: string): string =>
  typeof topic === 'string' ? topic : `${name}, partition ${topic.partition}, offset ${topic.offset}`;

/** What every source says, and what is said elsewhere; --json has all of it. */
const PLAIN: ReadonlySet<string> = new Set([
  'version',
  'connector',
  'name',
  'db',
  'schema',
  'table',
  'sequence',
  'ts_ms',
  'ts_us',
  'ts_ns',
]);

const sourceText = ({ topic }: Provenance): Fact[] => {
  if (typeof topic === 'string' || typeof topic.source !== 'object' || topic.source === null) return [];
  const said = Object.entries(topic.source).filter(
    ([name, value]) => !PLAIN.has(name) && value !== null && value !== '',
  );
  return [['source', said.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(' ')]];
};

const positionText = (order: Order): string => {
  const { epoch, position, phase, ordinal } = parseOrder(order);
  const what = ['read by a snapshot', `change ${ordinal + 1} of its transaction`, 'let in after it'][phase];
  return `epoch ${epoch}, position 0x${position.toString(16)}, ${what}`;
};

/** What the table says of the file, and of the commit that wrote it. */
export const fileFacts = (all: Asking, { state }: NamedTable, uri: string) => {
  const file = all.queries.engine.fileOf(uri);
  const path = uri.startsWith(state.location) ? uri.slice(state.location.length + 1) : uri;
  const writer = file === null ? null : snapshotById(state.metadata, file.snapshotId);
  return { path, snapshotId: file?.snapshotId ?? null, writer };
};

export type Explained = {
  table: NamedTable;
  version: LifeVersion;
  made: Provenance;
  /** Null while the version stands, or where no event ended it. */
  ended: Provenance | null;
};

const CLOSED: Readonly<Record<string, string>> = {
  u: 'superseded by an update',
  d: 'deleted',
  k: 'its key was changed',
  t: 'truncated',
  s: 'not there any more when a snapshot looked',
};

const writerText = ({ path, snapshotId, writer }: ReturnType<typeof fileFacts>): string => {
  if (snapshotId === null) return path;
  const by = `${path}, written by snapshot ${snapshotId}`;
  if (writer === null) return `${by}, which has expired`;
  return `${by} (${writer.summary.operation ?? '?'}) at ${timeOf(writer)}`;
};

/** Label and text, in the order in which people ask. */
export const factsOf = (all: Asking, { table, version, made, ended }: Explained): Fact[] => {
  const { from, to, order, orderEnd, tx, commitTs, closedBy } = version;
  const facts: Fact[] = [
    ['version', `${instantText(from)} .. ${to === null ? 'now' : instantText(to)}`],
    ['transaction', `${tx || 'not said'}, committed at ${instantText(commitTs)}`],
    ['position', positionText(order)],
    ['order', order],
    ...sourceText(made),
    ['topic', topicText(made, table.topic)],
    ['folded by', commitText(made.commit, commitTs)],
    ['file', writerText(fileFacts(all, table, version.file))],
  ];
  if (closedBy === null || orderEnd === null) return facts;
  facts.push(['ended', `${CLOSED[closedBy] ?? closedBy} at ${instantText(to ?? 0n)}`], ['  order', orderEnd]);
  if (ended === null) return facts;
  facts.push(['  topic', topicText(ended, table.topic)], ['  folded by', commitText(ended.commit, to)]);
  return facts;
};
