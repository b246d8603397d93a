// Owns the engine that answers questions, asked only where a file must be read, and the account of what was
// looked at. Knows no question.
import { mkdir, rm } from 'node:fs/promises';
import { VarveError } from '../../errors.ts';
import type { Engine, EngineAnswers } from './engine/engine.ts';
import { type FoundFiles, findFiles, type Wish } from './iceberg/prune.ts';
import type { TableState } from './iceberg/table-state.ts';
import type { LiveFile } from './iceberg-type.ts';
import { takeEngine } from './query-start.ts';
import type { Store } from './store.ts';

/** What was looked at: of so many data files so many could hold a row, so many were opened. */
type Effort = {
  files: number;
  candidates: number;
  opened: number;
  deletesOpened: number;
  manifests: number;
  manifestsRead: number;
};

const refuseSchema = (): never => {
  throw new VarveError('internal', 'A query asked for a schema of the topic.');
};

export class QueryEngine implements AsyncDisposable {
  readonly #started = takeEngine();
  readonly #data = new Map<string, LiveFile>();
  readonly #deletes = new Set<string>();
  readonly #opened = new Set<string>();
  readonly #manifests = new Set<string>();
  /** By manifest list: states are asked more than once. */
  readonly #states = new Map<string, FoundFiles['total']>();

  /** Exists once the engine was asked. */
  get directory(): string {
    return this.#started.directory;
  }

  /** Files of a state that may hold rows that meet all wishes. */
  async find(store: Store, state: TableState, wishes: readonly Wish[]): Promise<FoundFiles> {
    const found = await findFiles(store, state, wishes);
    for (const { path } of found.deletes) this.#deletes.add(path);
    for (const file of found.data) this.#data.set(file.path, file);
    for (const path of found.manifests) this.#manifests.add(path);
    this.#states.set(state.snapshot?.['manifest-list'] ?? state.location, found.total);
    return found;
  }

  /** What the table says of a data file that was found. */
  fileOf(uri: string): LiveFile | null {
    return this.#data.get(uri) ?? null;
  }

  async run<Result>(
    store: Store,
    work: (engine: Engine, answers: EngineAnswers) => Promise<Result>,
  ): Promise<Result> {
    await mkdir(this.directory, { recursive: true });
    using copies = store.lease();
    const localCopy = (uri: string): Promise<string> => {
      this.#opened.add(uri);
      return copies.localCopy(uri);
    };
    return await work(this.#started.engine, { localCopy, schema: refuseSchema });
  }

  /** Of all questions so far; what several of them looked at counts once, and so does each state. */
  get effort(): Effort {
    const sum = (pick: (total: FoundFiles['total']) => number): number =>
      [...this.#states.values()].reduce((all, total) => all + pick(total), 0);
    const deletes = [...this.#opened].filter((uri) => this.#deletes.has(uri)).length;
    return {
      files: sum(({ data }) => data),
      candidates: this.#data.size,
      opened: this.#opened.size - deletes,
      deletesOpened: deletes,
      manifests: sum(({ manifests }) => manifests),
      manifestsRead: this.#manifests.size,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#started.engine[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}
