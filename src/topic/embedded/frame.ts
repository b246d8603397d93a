// Owns one frame of the log: 24 bytes, a head in JSON, a body of record batches. A frame is one atomic write:
// whole, or not there. Knows no file.
import { crc32c } from '../crc32c.ts';

/** The directory's layout; one from the future is refused. */
export const LAYOUT = 1;

/** `crc` is the batch's own: the frame's checksum covers it, and with it the whole body. */
export type SliceHead = readonly [topic: string, base: number, records: number, bytes: number, crc: number];

/** Opens a segment: where every topic ended before it. `at` is milliseconds since 1970-01-01 UTC. */
export type SegmentHead = {
  kind: 'segment';
  v: number;
  log: string;
  segment: number;
  at: number;
  /** Size of the segment before this one, so that a shortened one is noticed; 0 for the first. */
  previousBytes: number;
  topics: readonly (readonly [name: string, id: string, end: number])[];
};

/** Second frame of a segment: everything else that was known by then, so that older segments may go. */
export type SnapshotHead = {
  kind: 'snapshot';
  state: readonly (readonly [key: string, value: string])[];
  /** Schema 1 first. */
  schemas: readonly string[];
};

export type WriteHead = {
  kind: 'write';
  slices: readonly SliceHead[];
  state: readonly (readonly [key: string, value: string | null])[];
  topics: readonly (readonly [name: string, id: string])[];
  schemas: readonly (readonly [id: number, text: string])[];
};

export type FrameHead = SegmentHead | SnapshotHead | WriteHead;

type Frame = { n: number; head: FrameHead; headBytes: number; bodyBytes: number };

const MAGIC = 0x56525631;
/**
 * magic u32, frame number u64, bytes of head u32, bytes of body u32, checksum of all that and the head u32.
 */
const AT = { magic: 0, n: 4, head: 12, body: 16, crc: 20, end: 24 } as const;

const utf8 = { encode: new TextEncoder(), decode: new TextDecoder('utf-8', { fatal: true }) };

/** The frame up to its body. `n` counts the frames of the log, across segments. */
export const encodeFrame = (n: number, head: FrameHead, bodyBytes = 0): Uint8Array => {
  const text = utf8.encode.encode(JSON.stringify(head));
  const bytes = new Uint8Array(AT.end + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(AT.magic, MAGIC);
  view.setBigUint64(AT.n, BigInt(n));
  view.setUint32(AT.head, text.length);
  view.setUint32(AT.body, bodyBytes);
  bytes.set(text, AT.end);
  view.setUint32(AT.crc, checksum(bytes));
  return bytes;
};

/** How many bytes `readFrame` needs from the frame's start on, as far as `bytes[at..]` tells. */
export const frameNeeds = (bytes: Uint8Array, at: number): number =>
  bytes.length - at < AT.end
    ? AT.end
    : AT.end + new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(AT.head);

/**
 * Call with at least `frameNeeds` bytes. Throws a RangeError for everything that was not written by
 * `encodeFrame`.
 */
export const readFrame = (bytes: Uint8Array, at: number): Frame => {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  if (view.getUint32(AT.magic) !== MAGIC) throw new RangeError('no frame begins here');
  const headBytes = AT.end + view.getUint32(AT.head);
  const whole = bytes.subarray(at, at + headBytes);
  if (checksum(whole) !== view.getUint32(AT.crc))
    throw new RangeError('the checksum of a frame does not fit');
  return {
    n: Number(view.getBigUint64(AT.n)),
    head: JSON.parse(utf8.decode.decode(whole.subarray(AT.end))) as FrameHead,
    headBytes,
    bodyBytes: view.getUint32(AT.body),
  };
};

const checksum = (frame: Uint8Array): number =>
  crc32c(frame, AT.end, { before: crc32c(frame, 0, { end: AT.crc }) });
