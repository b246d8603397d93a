// Owns what the frames of a log add up to: topics and their ends, state records, schemas. Knows no file.
import type { FrameHead, SnapshotHead, WriteHead } from './frame.ts';

export type TopicState = { readonly id: string; end: number };

export class LogState {
  readonly topics = new Map<string, TopicState>();
  readonly state = new Map<string, string>();
  /** Schema 1 first. */
  readonly schemas: string[] = [];

  /** Throws a RangeError when the frame does not continue what is here: then one before it is missing. */
  apply(head: FrameHead): void {
    if (head.kind === 'write') this.#applyWrite(head);
    else if (head.kind === 'segment') {
      for (const [name, id, end] of head.topics) this.topics.set(name, { id, end });
    } else {
      for (const [key, value] of head.state) this.state.set(key, value);
      this.schemas.push(...head.schemas);
    }
  }

  snapshot(): SnapshotHead {
    return { kind: 'snapshot', state: [...this.state], schemas: this.schemas };
  }

  #applyWrite({ slices, state, topics, schemas }: WriteHead): void {
    for (const [name, id] of topics) this.topics.set(name, { id, end: 0 });
    for (const [id, text] of schemas) {
      if (this.schemas.push(text) !== id) throw new RangeError(`schema ${id} does not follow the one before`);
    }
    for (const [name, base, records] of slices) {
      const topic = this.topics.get(name);
      if (topic?.end !== base)
        throw new RangeError(`records of ${name} at ${base} do not follow ${topic?.end}`);
      topic.end = base + records;
    }
    for (const [key, value] of state) {
      if (value === null) this.state.delete(key);
      else this.state.set(key, value);
    }
  }
}
