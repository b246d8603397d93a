// Owns reading a segment file: its head, and its frames one after the other. Knows no mark and no topic.
import type { FileHandle } from 'node:fs/promises';
import { VarveError } from '../../errors.ts';
import { verifyBatch } from '../record-batch-header.ts';
import { type FrameHead, frameNeeds, LAYOUT, readFrame, type SegmentHead, type SliceHead } from './frame.ts';

export type Place = { n: number; start: number; bodyAt: number; end: number };

const WINDOW_BYTES = 256 * 1024;

const readAt = async (file: FileHandle, position: number, bytes: number): Promise<Uint8Array> => {
  const buffer = new Uint8Array(bytes);
  let filled = 0;
  while (filled < bytes) {
    const { bytesRead } = await file.read(buffer, filled, bytes - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
};

/** Exactly `bytes` bytes; throws a RangeError when the file is shorter. */
export const readExactly = async (file: FileHandle, position: number, bytes: number): Promise<Uint8Array> => {
  const read = await readAt(file, position, bytes);
  if (read.length < bytes) throw new RangeError(`it ends at ${position + read.length}`);
  return read;
};

/**
 * Visits the frames of `[from, to)` in order, without their bodies. Stops at the first that is not whole:
 * `end` is where the last whole one ended, `problem` says why there are no more, null when `to` was reached.
 */
export const scanFrames = async (
  file: FileHandle,
  { from, to }: { from: number; to: number },
  visit: (head: FrameHead, place: Place) => void,
): Promise<{ end: number; problem: string | null }> => {
  let window = new Uint8Array(0);
  let windowAt = from;
  let at = from;
  while (at < to) {
    const inside = at - windowAt;
    const needs = inside < window.length ? frameNeeds(window, inside) : WINDOW_BYTES;
    if (at + needs > to && inside < window.length) return { end: at, problem: 'its last frame is cut off' };
    if (inside + needs > window.length) {
      const read = await readAt(file, at, Math.min(to - at, Math.max(needs, WINDOW_BYTES)));
      // Nothing more to be had: what there is is not a frame.
      if (read.length <= window.length - inside || read.length === 0)
        return { end: at, problem: `it ends at ${at}` };
      window = read as Uint8Array<ArrayBuffer>;
      windowAt = at;
      continue;
    }
    try {
      const { n, head, headBytes, bodyBytes } = readFrame(window, inside);
      const end = at + headBytes + bodyBytes;
      if (end > to) return { end: at, problem: 'its last frame is cut off' };
      visit(head, { n, start: at, bodyAt: at + headBytes, end });
      at = end;
    } catch (error) {
      if (error instanceof RangeError || error instanceof SyntaxError)
        return { end: at, problem: error.message };
      throw error;
    }
  }
  return { end: at, problem: null };
};

/** The segment's first frame and where it ends. Throws a RangeError when it is damaged, `state_newer`. */
export const readSegmentHead = async (
  file: FileHandle,
  path: string,
): Promise<{ head: SegmentHead; place: Place }> => {
  const { size } = await file.stat();
  let found: { head: SegmentHead; place: Place } | null = null;
  const first = await readAt(file, 0, Math.min(size, 24));
  const to = Math.min(size, frameNeeds(first, 0));
  const { problem } = await scanFrames(file, { from: 0, to }, (head, place) => {
    if (head.kind === 'segment') found = { head, place };
  });
  if (problem !== null || found === null) throw new RangeError(problem ?? 'it does not begin as a segment');
  const { head } = found as { head: SegmentHead };
  if (head.v <= LAYOUT) return found;
  throw new VarveError(
    'state_newer',
    `${path} has layout ${head.v}; this Varve reads up to ${LAYOUT}. Run the newer Varve that wrote it.`,
    { facts: { path, layout: head.v } },
  );
};

/** Why these bytes are not the batch that the head speaks of; null when they are, to the last bit. */
export const sliceProblem = ([, base, records, , crc]: SliceHead, batch: Uint8Array): string | null => {
  try {
    const header = verifyBatch(batch);
    return header.baseOffset === base && header.records === records && header.crc === crc
      ? null
      : 'it is another batch than its frame says';
  } catch (error) {
    return (error as Error).message;
  }
};
