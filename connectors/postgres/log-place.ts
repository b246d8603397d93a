// Owns this connector's resume point: where the log was left, and the last transaction that was taken, by
// which another log under the same positions is told from ours. Pure.
//
//   log:    ..--position==end-------------(nobody publishes this)------------resume--->
//             the last transaction's commit                    confirmed while idle
import type { ResumePoint } from '../../src/change/event.ts';
import { VarveError } from '../../src/errors.ts';
import { formatLsn, parseLsn } from './lsn.ts';

export type LastCommit = {
  /** Where its commit begins; it names the transaction as long as the log is the same. */
  position: bigint;
  /** Microseconds since 1970-01-01 UTC. */
  commitTs: bigint;
};

export type LogPlace = {
  /** All before it was delivered. */
  resume: bigint;
  /**
   * Where the last transaction ends, or where the log was opened: nothing was delivered between here and
   * `resume`.
   */
  end: bigint;
  /** Null: none was taken since the log was opened. */
  last: LastCommit | null;
};

/** A place where nothing is known of what lies before. */
export const placeAt = (lsn: bigint): LogPlace => ({ resume: lsn, end: lsn, last: null });

/**
 * `0/30001A8`, or `0/30001A8 (last commit 0/3000100 to 0/3000148 at 1763748000123456)`: people read it too.
 */
export const formatPlace = ({ resume, end, last }: LogPlace): ResumePoint => {
  const at = formatLsn(resume);
  if (last === null) return end === resume ? at : `${at} (opened at ${formatLsn(end)})`;
  return `${at} (last commit ${formatLsn(last.position)} to ${formatLsn(end)} at ${last.commitTs})`;
};

const SHAPE = /^(\S+)(?: \(opened at (\S+)\)| \(last commit (\S+) to (\S+) at (-?\d+)\))?$/;

/** Throws `state_corrupt` for a text that `formatPlace` does not make. */
export const parsePlace = (text: ResumePoint): LogPlace => {
  const [, resume, opened, position, end, commitTs] = SHAPE.exec(text) ?? [];
  if (resume === undefined)
    throw new VarveError('state_corrupt', `${JSON.stringify(text.slice(0, 80))} is no place in a log.`);
  if (position === undefined || end === undefined || commitTs === undefined)
    return { resume: parseLsn(resume), end: parseLsn(opened ?? resume), last: null };
  const last = { position: parseLsn(position), commitTs: BigInt(commitTs) };
  return { resume: parseLsn(resume), end: parseLsn(end), last };
};

export const covers = (place: ResumePoint, end: ResumePoint): boolean =>
  parsePlace(place).resume >= parsePlace(end).resume;

/** Bytes of log. */
export const distance = (from: ResumePoint, to: ResumePoint): number =>
  Math.max(0, Number(parsePlace(to).resume - parsePlace(from).resume));
