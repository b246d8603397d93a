// Owns the boundaries between one durable effect and the next, by name, so that a test can kill the process
// at each of them. In production nothing is armed and a point costs one comparison.

export const CRASH_POINTS = [
  'begin.intent',
  'begin.prepared',
  'begin.log_opened',
  'begin.checkpoint',
  'begin.more_opened',
  'snapshot.rows',
  'snapshot.markers',
  'topic.write',
  'source.confirm',
  'table.merge',
  'table.commit',
  'table.release',
] as const;

export type CrashPoint = (typeof CRASH_POINTS)[number];

type Armed = { point: string; side: 'before' | 'after'; nth: number };

let armed: Armed | null = null;

/** `point:before:3` ends the process at once, as a kill does, the third time it comes there. For tests. */
export const armCrashPoint = (text: string): void => {
  const [point = '', side, nth] = text.split(':');
  armed = { point, side: side === 'after' ? 'after' : 'before', nth: Number(nth ?? 1) };
};

const pass = (point: CrashPoint, side: Armed['side']): void => {
  if (armed === null || armed.point !== point || armed.side !== side) return;
  armed.nth--;
  if (armed.nth === 0) process.kill(process.pid, 'SIGKILL');
};

/** Runs an effect that is durable when it resolves, between its two boundaries. */
export const durably = async <Result>(point: CrashPoint, effect: () => Promise<Result>): Promise<Result> => {
  pass(point, 'before');
  const result = await effect();
  pass(point, 'after');
  return result;
};

/** The same for an effect that does not wait. */
export const atOnce = (point: CrashPoint, effect: () => void): void => {
  pass(point, 'before');
  effect();
  pass(point, 'after');
};
