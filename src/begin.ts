// Owns how the capture half begins: a first start, a resume, a start that a crash interrupted, tables that
// came later, repairs. Every step is durable before the next has an effect, so that a kill anywhere leaves
// one of these cases.
//
//   intent -> (made in the source) -> snapshot rows -> completion markers -> checkpoint, intent gone
import { Capture, type CaptureOptions } from './capture/capture.ts';
import type { TableName } from './change/schema.ts';
import { tableText } from './change/schema.ts';
import type { Source } from './connector.ts';
import { type CrashPoint, durably } from './crash-point.ts';
import { asVarveError, VarveError } from './errors.ts';
import { refuseForeignOwner } from './owner.ts';
import { runSnapshot, type SnapshotProgress } from './snapshot/snapshot.ts';
import { topicName } from './topic/naming.ts';
import type { Outbox } from './topic/outbox.ts';
import type { Publisher } from './topic/publisher.ts';
import {
  type Checkpoint,
  type EpochRecord,
  type GapRecord,
  type IdentityRecord,
  type IntentRecord,
  printState,
  readState,
  type SnapshotRecord,
  STATE_KEYS,
  type StaleRecord,
} from './topic/state.ts';

export type BeginOptions = {
  name: string;
  /** What topic names begin with. */
  prefix: string;
  kind: string;
  source: Source;
  publisher: Publisher;
  outbox: Outbox;
  selection: string;
  snapshot: { mode: 'initial' | 'never'; parallel: number };
  capture: (
    from: Checkpoint,
    epoch: number,
  ) => Pick<
    CaptureOptions,
    'reader' | 'maxTransactionBytes' | 'maxTransactionMs' | 'heartbeatMs' | 'topicOf' | 'nowMs' | 'onDurable'
  >;
  onProgress: (progress: SnapshotProgress) => void;
  onStep: (message: string) => void;
  nowMs: () => number;
  /** Throws when two tables would become one topic or one folder. */
  refuseMeetingNames: (tables: readonly TableName[]) => void;
  /** Tables to read again although their snapshot is complete (a repair). */
  again: readonly TableName[];
};

type Begun = { checkpoint: Checkpoint; epoch: number };

const read = <Body>(publisher: Publisher, key: string): Body | null =>
  readState<Body>(publisher.state(), key);

const readCheckpoint = (publisher: Publisher): Checkpoint | null =>
  read<Checkpoint>(publisher, STATE_KEYS.checkpoint);

const refuseForeignState = async ({ name, kind, source, publisher }: BeginOptions): Promise<void> => {
  const state = publisher.state();
  refuseForeignOwner({ name, kind, state });
  const identity = readState<IdentityRecord>(state, STATE_KEYS.identity);
  if (identity !== null) await source.verifyIdentity(identity.source);
};

const refuseStaleTables = ({ publisher, again, prefix }: BeginOptions): void => {
  for (const key of publisher.state().keys()) {
    if (!key.startsWith(STATE_KEYS.stale(''))) continue;
    const stale = read<StaleRecord>(publisher, key);
    if (stale === null) continue;
    if (again.some((table) => topicName(prefix, table) === topicName(prefix, stale.table))) continue;
    throw new VarveError(
      'table_stale',
      `Rows of ${tableText(stale.table)} changed without events (${stale.reason}), and it was not read ` +
        'again since. ' +
        `Run varve snapshot FILE ${tableText(stale.table)}.`,
      { facts: { table: tableText(stale.table), reason: stale.reason } },
    );
  }
};

const listTables = async ({ source, refuseMeetingNames }: BeginOptions): Promise<TableName[]> => {
  const tables = (await source.tables()).map((table) => table.name);
  refuseMeetingNames(tables);
  return tables;
};

type Records = Readonly<Record<string, object | null>>;

const writeState = async (options: BeginOptions, records: Records): Promise<void> => {
  const state = Object.entries(records).map(([key, body]) => ({
    key,
    value: body === null ? null : printState(body),
  }));
  const { durable } = await options.outbox.flush(state);
  await durable;
};

const writeStateAt = (point: CrashPoint, options: BeginOptions, records: Records): Promise<void> =>
  durably(point, () => writeState(options, records));

/** Who the source is, and what its tables look like while rows and topic agree. */
export const identityRecord = async ({
  name,
  kind,
  source,
}: Pick<BeginOptions, 'name' | 'kind' | 'source'>): Promise<Record<string, object>> => {
  const identity: IdentityRecord = { pipeline: name, kind, source: { ...(await source.identity()) } };
  return { [STATE_KEYS.identity]: identity };
};

/**
 * A new log, a new epoch, every table read. Rows of an interrupted start stay in the topic: the sweep closes
 * them.
 */
const startAnew = async (options: BeginOptions, signal: AbortSignal): Promise<Begun> => {
  const { source, publisher, outbox, selection, snapshot, onStep } = options;
  const epoch = (read<EpochRecord>(publisher, STATE_KEYS.epoch)?.epoch ?? 0) + 1;
  const tables = await listTables(options);
  const intent: IntentRecord = { epoch, tables };
  await writeStateAt('begin.intent', options, {
    ...(await identityRecord(options)),
    [STATE_KEYS.epoch]: { epoch },
    [STATE_KEYS.intent]: intent,
    [STATE_KEYS.checkpoint]: null,
  });
  await durably('begin.prepared', () => source.prepare(tables));
  const beginAt = async (resume: string): Promise<Begun> => {
    const checkpoint: Checkpoint = { resume, part: null, selection, commitTs: '0' };
    const noLongerStale = [...publisher.state().keys()].filter((key) => key.startsWith(STATE_KEYS.stale('')));
    await writeStateAt('begin.checkpoint', options, {
      ...(await identityRecord(options)),
      [STATE_KEYS.checkpoint]: checkpoint,
      [STATE_KEYS.intent]: null,
      ...Object.fromEntries(noLongerStale.map((key) => [key, null])),
    });
    return { checkpoint, epoch };
  };
  if (snapshot.mode === 'never') return beginAt(await durably('begin.log_opened', () => source.beginLog()));
  const request = { tables, parallel: snapshot.parallel };
  const session = await durably('begin.log_opened', () => source.beginSnapshot(request));
  try {
    onStep(`snapshot of ${tables.length} tables`);
    const { onProgress } = options;
    const sweep = epoch > 1;
    await runSnapshot({ session, outbox, epoch, parallel: snapshot.parallel, sweep, onProgress }, signal);
    // Before the session ends: it is by its open session that others see that this one is at work.
    return await beginAt(session.resume);
  } finally {
    await session.close();
  }
};

/**
 * Reads some tables beside a log that goes on. The stream is first followed up to the snapshot's own
 * position, so that rows and events stand in the topic in the order of the source.
 */
const readTables = async (
  options: BeginOptions,
  { begun, tables }: { begun: Begun; tables: readonly TableName[] },
  signal: AbortSignal,
): Promise<Begun> => {
  const { source, publisher, outbox, selection, snapshot, capture, onProgress, onStep, prefix } = options;
  await source.prepare(tables);
  const request = { tables, parallel: snapshot.parallel };
  const session = await durably('begin.more_opened', () => source.snapshotMore(request));
  try {
    onStep(`following the log up to the snapshot of ${tables.map(tableText).join(', ')}`);
    const { checkpoint, epoch } = begun;
    const shared = capture(checkpoint, epoch);
    const until = (resume: string): boolean => source.covers(resume, session.resume);
    const position = session.position;
    const mending = new Set(tables.map(tableText));
    const stop = { before: position, until, mending };
    const following = new Capture({ ...shared, ...stop, outbox, epoch, from: checkpoint, selection });
    await following.run(signal).finally(() => shared.reader.close());
    if (signal.aborted) return { checkpoint: readCheckpoint(publisher) ?? checkpoint, epoch };
    await runSnapshot(
      { session, outbox, epoch, parallel: snapshot.parallel, sweep: true, onProgress },
      signal,
    );
    const mended = tables.map((table) => [STATE_KEYS.stale(topicName(prefix, table)), null] as const);
    await writeState(options, { ...(await identityRecord(options)), ...Object.fromEntries(mended) });
    return { checkpoint: readCheckpoint(publisher) ?? checkpoint, epoch };
  } finally {
    await session.close();
  }
};

const tablesToRead = async (options: BeginOptions): Promise<TableName[]> => {
  const { publisher, again, prefix, snapshot } = options;
  if (snapshot.mode === 'never' && again.length === 0) return [];
  const tables = await listTables(options);
  const wanted = new Set(again.map(tableText));
  return tables.filter((table) => {
    const record = read<SnapshotRecord>(publisher, STATE_KEYS.snapshot(topicName(prefix, table)));
    return wanted.has(tableText(table)) || (snapshot.mode === 'initial' && record?.done !== true);
  });
};

/**
 * Makes the source and the topic ready to stream. Throws with the reason where the history cannot be
 * continued.
 */
export const begin = async (options: BeginOptions, signal: AbortSignal): Promise<Begun> => {
  const { publisher, source, onStep } = options;
  await refuseForeignState(options);
  refuseStaleTables(options);
  const checkpoint = readCheckpoint(publisher);
  const epoch = read<EpochRecord>(publisher, STATE_KEYS.epoch)?.epoch;
  if (checkpoint !== null && epoch !== undefined) {
    await source.verifyResume(checkpoint.resume);
    await writeState(options, await identityRecord(options));
    const tables = await tablesToRead(options);
    const begun = { checkpoint, epoch };
    return tables.length === 0 ? begun : readTables(options, { begun, tables }, signal);
  }
  if (read<IntentRecord>(publisher, STATE_KEYS.intent) !== null) {
    onStep('the last start was interrupted: starting again from a new snapshot');
    await source.dropUnused();
    return startAnew(options, signal);
  }
  if (await source.isFresh()) return startAnew(options, signal);
  throw new VarveError(
    'state_lost',
    `The source knows pipeline ${options.name}, but its topic holds no state: it was lost, or another one ` +
      'is named. Put it back, or run varve reset FILE and start again.',
    { facts: { pipeline: options.name } },
  );
};

/** Kinds that say: what lies between the checkpoint and the source as it is now cannot be had. */
export const LOST_HISTORY: ReadonlySet<string> = new Set([
  'log_missing',
  'log_lost',
  'history_gap',
  'source_rewound',
  'source_changed',
]);

/**
 * Throws `usage` when nothing is lost, and what stands in the way otherwise, such as somebody who reads the
 * log.
 */
const refuseWithoutGap = async (options: BeginOptions, { resume }: Checkpoint): Promise<void> => {
  try {
    await refuseForeignState(options);
    await options.source.verifyResume(resume);
  } catch (thrown) {
    if (LOST_HISTORY.has(asVarveError(thrown).kind)) return;
    throw thrown;
  }
  throw new VarveError(
    'usage',
    `Nothing is lost: the source still has everything after ${resume}. varve run goes on there, without ` +
      'a gap.',
    { facts: { checkpoint: resume } },
  );
};

/**
 * The repair for a history that cannot be continued: the log begins anew here, and the hole is written down.
 */
export const acceptGap = async (options: BeginOptions): Promise<{ from: string; to: string }> => {
  const { source, publisher, selection, nowMs } = options;
  const checkpoint = readCheckpoint(publisher);
  if (checkpoint === null)
    throw new VarveError('usage', 'There is no checkpoint, so there is no gap to accept: varve run FILE.');
  await refuseWithoutGap(options, checkpoint);
  const epoch = (read<EpochRecord>(publisher, STATE_KEYS.epoch)?.epoch ?? 0) + 1;
  await source.dropUnused();
  await source.prepare(await listTables(options));
  const resume = await source.beginLog();
  const gaps = [...publisher.state().keys()].filter((key) => key.startsWith('gap/')).length;
  const gap: GapRecord = { from: checkpoint.resume, to: resume, atMs: nowMs() };
  await writeState(options, {
    [STATE_KEYS.identity]: { pipeline: options.name, kind: options.kind, source: await source.identity() },
    [STATE_KEYS.epoch]: { epoch },
    [STATE_KEYS.checkpoint]: { resume, part: null, selection, commitTs: checkpoint.commitTs },
    [STATE_KEYS.gap(gaps + 1)]: gap,
  });
  return { from: checkpoint.resume, to: resume };
};
