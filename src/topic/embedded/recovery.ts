// Owns opening a topic directory for writing: creates an empty one, proves an existing one whole, and cuts
// away what lies past the mark and is torn. Whatever cannot be explained by a crash is damage, and is
// refused.
import { type FileHandle, mkdir, open, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { VarveError } from '../../errors.ts';
import {
  damaged,
  fileError,
  type Listing,
  listDirectory,
  segmentPath,
  syncDirectory,
  writeWhole,
} from './directory.ts';
import { encodeFrame, type FrameHead, LAYOUT, type SegmentHead, type WriteHead } from './frame.ts';
import { LogState } from './log-state.ts';
import { type Mark, MarkWriter, readMark } from './mark.ts';
import { type Place, readExactly, readSegmentHead, scanFrames, sliceProblem } from './segment.ts';

/** A sealed segment or the one being written. `ends`: where every topic ended before it. */
export type Segment = { number: number; bytes: number; at: number; ends: ReadonlyMap<string, number> };

export type OpenLog = {
  log: string;
  segments: Segment[];
  state: LogState;
  /** Number of the next frame. */
  next: number;
  /** Where the last segment's own two frames end and writes begin. */
  opening: number;
};

export type Birth = { now: () => number; randomId: () => string };

/** The directory, made if it is not there. Throws `state_foreign` when it holds something else. */
export const prepareDirectory = async (path: string): Promise<void> => {
  try {
    const first = await mkdir(path, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    // A new name is durable only when the directory that holds it is: from the deepest up to the first made.
    for (let parent = dirname(resolve(path)); ; parent = dirname(parent)) {
      await syncDirectory(parent);
      if (parent === dirname(resolve(first))) return;
    }
  } catch (error) {
    throw fileError(error, path);
  }
};

/**
 * Under the lock only. Throws `state_corrupt`, `state_foreign`, `state_newer`; changes nothing when it does.
 */
export const recover = async (path: string, birth: Birth): Promise<OpenLog> => {
  const listing = await listDirectory(path);
  const mark = await readMark(path);
  if (mark === null) refuseUnmarked(path, listing);
  if (mark === null || mark.segment === 0) {
    if (listing.segments.length > 1)
      throw damaged(path, 'it has segments and a mark that says there is none');
    await create(path, birth, mark);
    return recover(path, birth);
  }
  const segments = await checkSegments(path, listing, mark);
  const last = segments.at(-1) as Segment;
  const opened = await cutTail(path, last, mark);
  last.bytes = opened.bytes;
  for (const name of listing.unfinished) await unlink(join(path, name));
  for (const number of listing.segments) if (number < mark.first) await unlink(segmentPath(path, number));
  const { state, next, opening } = opened;
  return { log: mark.log, segments, state, next, opening };
};

const refuseUnmarked = (path: string, listing: Listing): void => {
  if (listing.segments.length > 0 || listing.released) throw damaged(path, 'the mark is missing');
  if (listing.other.length === 0) return;
  throw new VarveError(
    'state_foreign',
    `${path} is not an embedded topic: it holds ${listing.other[0]}. Give the topic an empty directory ` +
      'of its own.',
    { facts: { path, found: listing.other[0] as string } },
  );
};

/**
 * The mark comes first and says that nothing is there yet, so that a crash in between is told from a loss.
 */
const create = async (path: string, birth: Birth, mark: Mark | null): Promise<void> => {
  const log = mark?.log ?? birth.randomId();
  if (mark === null) await MarkWriter.create(path, { v: LAYOUT, log, first: 1, segment: 0, position: 0 });
  const head: SegmentHead = {
    kind: 'segment',
    v: LAYOUT,
    log,
    segment: 1,
    at: birth.now(),
    previousBytes: 0,
    topics: [],
  };
  const position = await writeSegment(path, { head, state: new LogState(), next: 1 });
  await MarkWriter.create(path, { v: LAYOUT, log, first: 1, segment: 1, position });
};

/** A new segment with its first two frames, on the disk when it resolves. Returns its size. */
export const writeSegment = async (
  path: string,
  { head, state, next }: { head: SegmentHead; state: LogState; next: number },
): Promise<number> => {
  const frames = [encodeFrame(next, head), encodeFrame(next + 1, state.snapshot())];
  const file = segmentPath(path, head.segment);
  await writeWhole(path, file.slice(path.length + 1), frames);
  return frames.reduce((sum, frame) => sum + frame.length, 0);
};

const checkSegments = async (path: string, listing: Listing, mark: Mark): Promise<Segment[]> => {
  const numbers = listing.segments.filter((number) => number >= mark.first);
  const last = numbers.at(-1) ?? 0;
  if (numbers[0] !== mark.first || last !== mark.first + numbers.length - 1) {
    throw damaged(path, `a segment between ${mark.first} and ${Math.max(last, mark.segment)} is missing`);
  }
  // A crash may have come between a new segment and the mark that names it, and nowhere else.
  if (last !== mark.segment && last !== mark.segment + 1) {
    throw damaged(path, `the mark names segment ${mark.segment}, and the last one is ${last}`);
  }
  const segments: Segment[] = [];
  for (const number of numbers) {
    const { segment, head } = await readSegment(path, number, mark.log);
    const before = segments.at(-1);
    if (before && before.bytes !== head.previousBytes) {
      throw damaged(
        segmentPath(path, before.number),
        `it has ${before.bytes} bytes, not ${head.previousBytes}`,
      );
    }
    segments.push(segment);
  }
  return segments;
};

/** Throws `state_corrupt` when this file is not that segment of that log. */
export const readSegment = async (
  path: string,
  number: number,
  log: string,
): Promise<{ segment: Segment; head: SegmentHead; place: Place }> => {
  const file = segmentPath(path, number);
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw fileError(error, file);
  });
  try {
    const { head, place } = await readSegmentHead(handle, file);
    if (head.log !== log || head.segment !== number)
      throw new RangeError('it belongs to another log or place');
    const ends = new Map(head.topics.map(([name, , end]) => [name, end]));
    return { segment: { number, bytes: (await handle.stat()).size, at: head.at, ends }, head, place };
  } catch (error) {
    if (error instanceof RangeError) throw damaged(file, error.message, error);
    throw fileError(error, file);
  } finally {
    await handle.close();
  }
};

type Tail = Pick<OpenLog, 'state' | 'next' | 'opening'> & { bytes: number };

const cutTail = async (path: string, last: Segment, mark: Mark): Promise<Tail> => {
  const file = segmentPath(path, last.number);
  const handle = await open(file, 'r+');
  try {
    const committed = last.number === mark.segment ? mark.position : 0;
    const openings: Place[] = [];
    const past: { head: WriteHead; place: Place }[] = [];
    const { end, problem } = await scanFrames(handle, { from: 0, to: last.bytes }, (head, place) => {
      if (head.kind !== 'write') openings.push(place);
      else if (place.end > committed) past.push({ head, place });
    });
    if (end < committed || openings.length !== 2) throw damaged(file, problem ?? 'it ends before the mark');
    const bytes = await wholeUpTo(handle, past, end);
    const tail = await replay(handle, bytes);
    if (bytes < last.bytes) await handle.truncate(bytes);
    await handle.sync();
    await syncDirectory(path);
    return { bytes, ...tail, opening: (openings[1] as Place).end };
  } catch (error) {
    if (error instanceof RangeError) throw damaged(file, error.message, error);
    throw fileError(error, file);
  } finally {
    await handle.close();
  }
};

/** Frames past the mark count only with their batches: their heads may have reached the disk alone. */
const wholeUpTo = async (
  file: FileHandle,
  past: readonly { head: WriteHead; place: Place }[],
  end: number,
): Promise<number> => {
  for (const { head, place } of past) {
    const body = await readExactly(file, place.bodyAt, place.end - place.bodyAt);
    if (!holdsBatches(head, body)) return place.start;
  }
  return end;
};

const holdsBatches = ({ slices }: WriteHead, body: Uint8Array): boolean => {
  let at = 0;
  for (const slice of slices) {
    if (sliceProblem(slice, body.subarray(at, at + slice[3])) !== null) return false;
    at += slice[3];
  }
  return at === body.length;
};

/** Throws a RangeError when a frame does not follow the one before it. */
const replay = async (file: FileHandle, to: number): Promise<{ state: LogState; next: number }> => {
  const state = new LogState();
  let next = -1;
  const { problem } = await scanFrames(file, { from: 0, to }, (head: FrameHead, { n }) => {
    if (next >= 0 && n !== next) throw new RangeError(`frame ${next} is missing`);
    next = n + 1;
    state.apply(head);
  });
  if (problem !== null) throw new RangeError(problem);
  return { state, next };
};
