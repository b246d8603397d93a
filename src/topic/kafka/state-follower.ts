// Owns the state as a reader sees it: the state topic read from its start once, then followed. Knows no
// record's bytes and no meaning of any key.
import { VarveError } from '../../errors.ts';
import { PartitionLog, type Reading } from './partition-log.ts';
import { PinnedTopic } from './pinned-topic.ts';
import { applyStateBatch, stateTopic, toldState } from './state-topic.ts';

const READ_BYTES = 1 << 20;

export class StateFollower {
  readonly #log: PartitionLog;
  readonly #state = new Map<string, string>();
  #next: bigint | null = null;
  /** Data was read since: its state may be on its way. */
  #owes = false;
  #running: Promise<void> = Promise.resolve();
  #queued: Promise<void> | null = null;

  /** Throws `topic_busy` while the brokers do not know the topic. */
  static async open(prefix: string, reading: Reading): Promise<StateFollower> {
    const name = stateTopic(prefix);
    const topic = await PinnedTopic.pin(reading.client, name);
    if (topic !== null) return new StateFollower(new PartitionLog(topic, 0, reading));
    throw new VarveError('topic_busy', `The brokers do not know the topic ${name} yet.`, {
      facts: { topic: name },
    });
  }

  constructor(log: PartitionLog) {
    this.#log = log;
  }

  /** From now on the next `read` waits for the state of all that is written. */
  owe(): void {
    this.#owes = true;
  }

  /** A copy. Callers at the same time share one look, begun after their calls. */
  async read(): Promise<ReadonlyMap<string, string>> {
    this.#queued ??= this.#running.then(() => {
      this.#queued = null;
      const pass = this.#follow();
      this.#running = pass.catch(() => undefined);
      return pass;
    });
    await this.#queued;
    return toldState(this.#state);
  }

  async #follow(): Promise<void> {
    const owes = this.#owes;
    this.#owes = false;
    try {
      if (owes) await this.#log.decided(await this.#log.edge('end'));
      this.#next ??= await this.#log.edge('start');
      for (;;) {
        const { batches, nextOffset } = await this.#log.read({ from: this.#next, maxBytes: READ_BYTES });
        if (nextOffset === this.#next) return;
        for (const batch of batches) applyStateBatch(this.#state, batch, this.#next);
        this.#next = nextOffset;
      }
    } catch (error) {
      this.#owes ||= owes;
      throw error;
    }
  }
}
