// Owns the reading end's picture of the log: what the frames up to the mark add up to, and where batches lie.
// Moves only forward with the mark; a log that was replaced under it is refused.
import { type FileHandle, open } from 'node:fs/promises';
import { VarveError } from '../../errors.ts';
import { damaged, fileError, isMissing, segmentPath } from './directory.ts';
import { LogState } from './log-state.ts';
import { type Mark, MarkReader } from './mark.ts';
import { readSegment, type Segment } from './recovery.ts';
import { scanFrames } from './segment.ts';
import { type IndexedSlice, SliceIndex } from './slice-index.ts';

/** Indexes of sealed segments that are kept: enough for sinks that read in different places. */
const KEPT_INDEXES = 8;

export type FoundSlices = { path: string; slices: readonly IndexedSlice[] };

type Current = { number: number; file: FileHandle; position: number; index: SliceIndex };

export class LogFollower {
  readonly #path: string;
  readonly #marks: MarkReader;
  #mark: Mark;
  #state = new LogState();
  #segments: Segment[] = [];
  #current: Current | null = null;
  readonly #sealed = new Map<number, Promise<SliceIndex>>();
  #turn: Promise<void> = Promise.resolve();

  private constructor(path: string, marks: MarkReader, mark: Mark) {
    this.#path = path;
    this.#marks = marks;
    this.#mark = mark;
  }

  static async open(path: string): Promise<LogFollower> {
    const marks = new MarkReader(path);
    let follower: LogFollower | null = null;
    try {
      follower = new LogFollower(path, marks, await requireMark(path, marks));
      await follower.#follow(follower.#mark);
      return follower;
    } catch (error) {
      await (follower ?? marks).close();
      throw error;
    }
  }

  get state(): LogState {
    return this.#state;
  }

  /** Changes with every commit. */
  get position(): string {
    return `${this.#mark.segment}/${this.#mark.position}`;
  }

  /** First offset of the topic that is still there. */
  start(topic: string): number {
    return this.#segments[0]?.ends.get(topic) ?? 0;
  }

  /** Everything that was committed before the call is known when it resolves. */
  refresh(): Promise<void> {
    const turn = this.#turn.then(async () => {
      const mark = await requireMark(this.#path, this.#marks);
      if (mark.log !== this.#mark.log) throw replaced(this.#path);
      const { first, segment, position } = this.#mark;
      if (mark.position !== position || mark.segment !== segment || mark.first !== first)
        await this.#follow(mark);
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** The batches from `offset` on; null when retention was faster: then the start has moved. */
  async find(topic: string, offset: number, maxBytes: number): Promise<FoundSlices | null> {
    const segment = this.#segments.findLast(({ ends }) => (ends.get(topic) ?? 0) <= offset);
    if (!segment) return null;
    const path = segmentPath(this.#path, segment.number);
    const index = await this.#indexOf(segment).catch((error: unknown) => {
      if (isMissing(error)) return null;
      throw fileError(error, path);
    });
    if (index === null) return null;
    const slices = index.find(topic, offset, maxBytes);
    const base = slices[0]?.head[1] ?? Number.POSITIVE_INFINITY;
    if (base <= offset) return { path, slices };
    throw damaged(path, `offset ${offset} of ${topic} is missing`);
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#marks.close();
    await this.#current?.file.close();
    this.#current = null;
  }

  /**
   * Retention may take files away while they are looked at: then the mark has moved, and everything begins
   * again.
   */
  async #follow(mark: Mark): Promise<void> {
    for (;;) {
      try {
        await this.#openSegments(mark);
        await this.#scanCurrent(mark);
        this.#mark = mark;
        return;
      } catch (error) {
        const newer = await requireMark(this.#path, this.#marks);
        if (newer.first === mark.first) throw error;
        mark = newer;
      }
    }
  }

  async #openSegments(mark: Mark): Promise<void> {
    const segments = this.#segments.filter(({ number }) => number >= mark.first);
    for (let number = (segments.at(-1)?.number ?? mark.first - 1) + 1; number <= mark.segment; number++) {
      const { segment, head } = await readSegment(this.#path, number, mark.log);
      const before = segments.at(-1);
      if (before) before.bytes = head.previousBytes;
      segments.push(segment);
    }
    this.#segments = segments;
    for (const number of this.#sealed.keys()) if (number < mark.first) this.#sealed.delete(number);
    if (this.#current?.number === mark.segment) return;
    await this.#current?.file.close();
    this.#current = null;
    const file = await open(segmentPath(this.#path, mark.segment), 'r');
    this.#current = { number: mark.segment, file, position: 0, index: new SliceIndex() };
    this.#state = new LogState();
  }

  async #scanCurrent(mark: Mark): Promise<void> {
    const { file, position, index } = this.#current as Current;
    const { end, problem } = await scanFrames(file, { from: position, to: mark.position }, (head, place) => {
      this.#state.apply(head);
      index.add(head, place);
    });
    (this.#current as Current).position = end;
    if (problem !== null) throw damaged(segmentPath(this.#path, mark.segment), problem);
  }

  #indexOf({ number, bytes }: Segment): Promise<SliceIndex> {
    if (number === this.#current?.number) return Promise.resolve(this.#current.index);
    const made = this.#sealed.get(number) ?? this.#readIndex(number, bytes);
    // Last used, last to go.
    this.#sealed.delete(number);
    this.#sealed.set(number, made);
    if (this.#sealed.size > KEPT_INDEXES) this.#sealed.delete(this.#sealed.keys().next().value as number);
    made.catch(() => this.#sealed.delete(number));
    return made;
  }

  async #readIndex(number: number, bytes: number): Promise<SliceIndex> {
    const path = segmentPath(this.#path, number);
    const index = new SliceIndex();
    const file = await open(path, 'r');
    try {
      const { problem } = await scanFrames(file, { from: 0, to: bytes }, (head, place) =>
        index.add(head, place),
      );
      if (problem !== null) throw damaged(path, problem);
      return index;
    } finally {
      await file.close();
    }
  }
}

const requireMark = async (path: string, marks: MarkReader): Promise<Mark> => {
  const mark = await marks.read();
  if (mark !== null && mark.segment > 0) return mark;
  throw new VarveError(
    'state_lost',
    `There is no embedded topic in ${path}. Look at the path; \`varve run\` makes one, and a lost one ` +
      'comes back from a copy only.',
    { facts: { path } },
  );
};

const replaced = (path: string): VarveError =>
  new VarveError(
    'topic_changed',
    `The embedded topic in ${path} was replaced by another one. Offsets of the old one mean nothing ` +
      'there; start the reader again.',
    { facts: { path } },
  );
