// Owns PostgreSQL's log as a stream of events: connects, decodes, waits for the catalog where a table is
// described anew, and tells when the end is reached. Knows nothing of topics or of what is durable.
import type { LogChunk, LogReader } from '../../src/capture/log-reader.ts';
import type { LogEvent, LogTable, ResumePoint } from '../../src/change/event.ts';
import { VarveError } from '../../src/errors.ts';
import { parsePlace } from './log-place.ts';
import { EventDecoder, type Resolution } from './log-reader-events.ts';
import { EPOCH_MICROS, KEEPALIVE, type RelationMessage, type TypeMessage, WAL_DATA } from './pgoutput.ts';
import { malformed, readU32 } from './pgoutput-cursor.ts';
import { ReplicationClient, type ReplicationRequest, type ReplicationTiming } from './replication-client.ts';
import type { SourcePosition } from './source-block.ts';

/** Asked each time the log describes a relation; the answer holds until it describes it again. */
export type Resolve<Table> = (
  relation: RelationMessage,
  types: ReadonlyMap<number, TypeMessage>,
) => Promise<Resolution<Table>>;

export type LogTiming = ReplicationTiming & {
  /** After a commit the first Idle comes this soon, then ever later up to `idleMs`. */
  firstIdleMs: number;
  idleMs: number;
};

export const DEFAULT_TIMING: LogTiming = {
  statusMs: 10_000,
  silenceMs: 60_000,
  senderTimeoutMs: 60_000,
  firstIdleMs: 50,
  idleMs: 10_000,
};

export type LogReaderOptions<Table> = ReplicationRequest & {
  resolve: Resolve<Table>;
  /** Filled for every event, for the `source` block. */
  position: SourcePosition;
  timing?: Partial<LogTiming>;
  /** The server has begun to send: others can see that the log is being read. */
  onStarted?: () => void;
};

const KEEPALIVE_BYTES = 18;
/** A commit that is older than this when its rows are sent: both times are of the server's clock. */
const LAG_MICROS = 100_000;
/** Whoever lags collects what comes, until nothing more has come for this long. */
const LAG_END_MS = 5;

const EPOCH_NUMBER = Number(EPOCH_MICROS);

class PostgresLogReader<Table extends LogTable> implements LogReader<Table> {
  readonly #options: LogReaderOptions<Table>;
  readonly #timing: LogTiming;
  #client: ReplicationClient | null = null;
  #decoder: EventDecoder<Table> | null = null;
  #confirmed = 0n;
  /** What was sent last had been committed long before. */
  #lags = false;
  #isClosed = false;
  #sentMicros = 0;
  #commitMicros = 0;
  /** 0: a commit was seen since the last Idle, so the next one comes soon. */
  #idleStepMs = 0;
  #idleDueMs = 0;
  /** Where reading began: no position before it is news. */
  #after = 0n;
  /** The last position that an event named. */
  #told = 0n;
  #failure: unknown;

  constructor(options: LogReaderOptions<Table>) {
    this.#options = options;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
  }

  async *read(after: ResumePoint, signal: AbortSignal): AsyncGenerator<LogChunk<Table>> {
    if (this.#decoder) throw new VarveError('internal', 'A log reader was asked to read twice.');
    const place = parsePlace(after);
    this.#after = place.resume;
    const decoder = new EventDecoder<Table>(place, this.#options.position);
    this.#decoder = decoder;
    const client = await ReplicationClient.start(
      { ...this.#options, timing: this.#timing },
      place.end,
      this.#confirmed,
    );
    this.#client = client;
    this.#options.onStarted?.();
    if (this.#isClosed) await client.close();
    if (signal.aborted) client.interrupt();
    const interrupt = (): void => client.interrupt();
    signal.addEventListener('abort', interrupt);
    const reader = this;
    const chunk: LogChunk<Table> = {
      next: () => this.#next(client, decoder),
      get behind() {
        return reader.#lags;
      },
    };
    try {
      while (await this.#fill(client, decoder)) {
        yield chunk;
        if (decoder.pending) decoder.settle(await this.#options.resolve(decoder.pending, decoder.types));
      }
    } finally {
      signal.removeEventListener('abort', interrupt);
    }
  }

  confirm(point: ResumePoint): void {
    const lsn = parsePlace(point).resume;
    if (lsn > this.#confirmed) this.#confirmed = lsn;
    this.#client?.confirm(this.#confirmed);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#client?.close();
  }

  /** Waits for a frame; asks the server for its position when an Idle is due. */
  async #fill(client: ReplicationClient, decoder: EventDecoder<Table>): Promise<boolean> {
    if (decoder.isInTransaction || client.frames.hasFrame) return client.fill(this.#lags);
    const nowMs = performance.now();
    if (this.#idleStepMs === 0) {
      this.#idleStepMs = this.#timing.firstIdleMs;
      this.#idleDueMs = nowMs + (this.#lags ? LAG_END_MS : this.#idleStepMs);
    }
    const waitMs = Math.max(0, this.#idleDueMs - nowMs);
    const timer = setTimeout(() => client.sendStatus(true), waitMs);
    try {
      return await client.fill(this.#lags);
    } finally {
      clearTimeout(timer);
    }
  }

  #next(client: ReplicationClient, decoder: EventDecoder<Table>): LogEvent<Table> | null {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return decoder.takeWaiting() ?? this.#decodeNext(client, decoder);
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  #decodeNext(client: ReplicationClient, decoder: EventDecoder<Table>): LogEvent<Table> | null {
    const { frames } = client;
    while (decoder.pending === null && client.next()) {
      const { bytes, start, end } = frames;
      const tag = bytes[start];
      if (tag === WAL_DATA) {
        const event = decoder.decode(bytes, start, end);
        this.#sentMicros = readU32(bytes, start + 17) * 0x1_0000_0000 + readU32(bytes, start + 21);
        if (event === null) continue;
        if (event.kind === 'begin') this.#commitMicros = Number(event.commitTs) - EPOCH_NUMBER;
        else if (event.kind === 'commit') {
          this.#idleStepMs = 0;
          this.#told = decoder.delivered;
        }
        return event;
      }
      if (tag !== KEEPALIVE) throw malformed(`of replication has the unknown tag ${tag}`, start);
      const idle = this.#keepalive(client, decoder);
      if (idle) return idle;
    }
    this.#lags = this.#sentMicros - this.#commitMicros > LAG_MICROS;
    return null;
  }

  /**
   *   sent:      ..BEGIN .. COMMIT e1 | (changes that nobody publishes) k=w
   *   delivered: ................. e1 -------------------------------- w
   *
   * The position of a keepalive outside a transaction covers all that was committed before it, because
   * everything comes in one ordered stream. Inside one it covers nothing.
   */
  #keepalive(client: ReplicationClient, decoder: EventDecoder<Table>): LogEvent<Table> | null {
    const { bytes, start, end } = client.frames;
    if (end - start !== KEEPALIVE_BYTES) throw malformed('of replication has a wrong length', start);
    const isAsked = bytes[start + 17] === 1;
    if (isAsked) client.sendStatus(false);
    const walEnd = (BigInt(readU32(bytes, start + 1)) << 32n) | BigInt(readU32(bytes, start + 5));
    const delivered = decoder.advance(walEnd);
    if (delivered === null || delivered < this.#after) return null;
    const nowMs = performance.now();
    const isDue = this.#idleStepMs > 0 && nowMs >= this.#idleDueMs;
    // A server that shuts down asks, and waits until this very position is confirmed.
    if (!isDue && !(isAsked && delivered > this.#told)) return null;
    this.#idleStepMs = Math.min(
      Math.max(this.#idleStepMs * 2, this.#timing.firstIdleMs),
      this.#timing.idleMs,
    );
    this.#idleDueMs = nowMs + this.#idleStepMs;
    this.#told = delivered;
    return { kind: 'idle', resume: decoder.resume, isAsked };
  }
}

/** Reads one slot; `read` may be called once, and the slot is free again when `close` has resolved. */
export const makeLogReader = <Table extends LogTable>(options: LogReaderOptions<Table>): LogReader<Table> =>
  new PostgresLogReader(options);
