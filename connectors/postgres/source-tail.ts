// Owns the question whether the server's log still has the last transaction that we took. A copy that was
// restored and has grown since shows the same system, timeline and positions, and another history; but its
// slot is as old as the copy, so it sends what we should know once more.
import { VarveError } from '../../src/errors.ts';
import type { LastCommit } from './log-place.ts';
import { formatLsn } from './lsn.ts';
import { decodeControl, KEEPALIVE, WAL_DATA, WAL_HEADER_BYTES } from './pgoutput.ts';
import { FrameCursor } from './pgoutput-cursor.ts';
import { ReplicationClient, type ReplicationOptions } from './replication-client.ts';
import type { FrameBuffer } from './replication-frames.ts';

const [BEGIN, COMMIT] = [0x42, 0x43];
/** The server says where it is only when it is asked. */
const ASK_MS = 100;

/** Looks for a transaction in what arrives: true or false once it is clear, null until then. */
class CommitSearch {
  readonly #last: LastCommit;
  #isInTransaction = false;

  constructor(last: LastCommit) {
    this.#last = last;
  }

  look({ bytes, start, end }: FrameBuffer): boolean | null {
    const { position, commitTs } = this.#last;
    const cursor = new FrameCursor(bytes, start + 1, end);
    if (bytes[start] === KEEPALIVE) return !this.#isInTransaction && cursor.u64() > position ? false : null;
    if (bytes[start] !== WAL_DATA) return null;
    const tag = bytes[start + WAL_HEADER_BYTES];
    if (tag === COMMIT) this.#isInTransaction = false;
    if (tag !== BEGIN) return null;
    this.#isInTransaction = true;
    const begun = decodeControl(tag, new FrameCursor(bytes, start + WAL_HEADER_BYTES + 1, end));
    if (begun.kind !== 'begin' || begun.finalLsn < position) return null;
    return begun.finalLsn === position && begun.commitTs === commitTs;
  }
}

const search = async (client: ReplicationClient, last: LastCommit): Promise<boolean> => {
  const commits = new CommitSearch(last);
  for (;;) {
    await client.fill(true);
    while (client.next()) {
      const found = commits.look(client.frames);
      if (found !== null) return found;
    }
  }
};

/**
 * Reads what the slot still holds up to `last`, and confirms nothing. Call it only where the slot was
 * confirmed at `last` or before. Throws `source_rewound` when the transaction is not there, and what
 * streaming throws.
 */
export const verifyLast = async (options: ReplicationOptions, last: LastCommit): Promise<void> => {
  const client = await ReplicationClient.start(options, 0n, 0n);
  const asking = setInterval(() => client.sendStatus(true), ASK_MS);
  try {
    if (!(await search(client, last))) throw rewound(last);
  } finally {
    clearInterval(asking);
    await client.close();
  }
};

const rewound = ({ position, commitTs }: LastCommit): VarveError => {
  const time = new Date(Number(commitTs / 1000n)).toISOString();
  return new VarveError(
    'source_rewound',
    "The source's log does not have the transaction that was taken last, committed at " +
      `${formatLsn(position)} at ${time}: it was restored from an older copy and has gone on from there. ` +
      'Changes that are published never happened in it. Run varve snapshot FILE --all to read the tables ' +
      'again.',
    { facts: { commit: formatLsn(position), commit_time: time } },
  );
};
