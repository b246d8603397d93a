// Port: what a database's log must supply. Stands beside the capture loop that consumes it; implemented by
// connectors.
import type { LogEvent, ResumePoint } from '../change/event.ts';

/**
 * A cursor over events that have arrived. `next()` is synchronous and returns one flyweight at a time, null
 * when this chunk is used up. `behind`: more is already waiting, so latency is not worth a flush now.
 */
export type LogChunk<Table> = { next(): LogEvent<Table> | null; readonly behind: boolean };

/**
 * Committed transactions, in commit order, events flat. Never yields past an error: it throws a VarveError,
 * and nothing of a torn message is seen. `read` is called once. Back-pressure: not pulling pauses the socket;
 * feedback to the source goes on by its own timer all the same.
 */
export type LogReader<Table> = {
  read(after: ResumePoint, signal: AbortSignal): AsyncIterable<LogChunk<Table>>;
  /** Monotonic; the caller vows that a durable checkpoint covers `point`. Never blocks. */
  confirm(point: ResumePoint): void;
  close(): Promise<void>;
};
