// Owns opening a snapshot for the pipeline: with the slot that the stream will go on from, or beside a stream
// that has one.
import { type TableName, tableText } from '../../src/change/schema.ts';
import type { SnapshotSession } from '../../src/snapshot/chunk-reader.ts';
import type { PreparedTable } from '../../src/topic/prepared-table.ts';
import { openSnapshot, type PostgresSnapshot } from './snapshot-session.ts';
import type { SourcePosition } from './source-block.ts';
import type { SourceClients } from './source-clients.ts';
import type { SourceMemory } from './source-memory.ts';

type SourceSnapshotOptions = {
  clients: SourceClients;
  memory: SourceMemory;
  /** Of the `source` block; rows of a snapshot all stand at its own position. */
  position: SourcePosition;
  tables: readonly TableName[];
  parallel: number;
  /** Beside a stream: a slot of its own fixes the snapshot, and goes at once. */
  beside: boolean;
};

// A slot of the process, so that a leftover of a killed one, which the server has not noticed yet, is not in
// the way.
const besideName = (slot: string): string => `${slot.slice(0, 40)}_more_${process.pid}`;

export const openSourceSnapshot = ({
  clients,
  memory,
  position,
  tables,
  parallel,
  beside,
}: SourceSnapshotOptions): Promise<SnapshotSession<PreparedTable>> =>
  clients.ask('fixing a snapshot', async (side) => {
    const { slot } = clients.settings;
    const session = await openSnapshot({
      open: clients.open,
      side,
      slot: beside ? besideName(slot) : slot,
      temporary: beside,
      tables,
      parallel,
      prepare: clients.prepareUnder,
      onRows: (lsn) => {
        position.lsnHigh = Number(lsn >> 32n);
        position.lsnLow = Number(lsn & 0xffff_ffffn);
        position.commitHigh = -1;
        position.txId = null;
      },
    });
    await remember(session, memory, tables);
    return session;
  });

/** From now on the tables' rows agree with how they look under this snapshot. */
const remember = async (
  session: PostgresSnapshot,
  memory: SourceMemory,
  tables: readonly TableName[],
): Promise<void> => {
  try {
    const found = await memory.lookWith(session.holder, tables, new Map());
    for (const table of tables) {
      const facts = found.get(tableText(table));
      if (facts !== undefined) memory.facts.set(tableText(table), facts);
    }
  } catch (thrown) {
    await session.close();
    throw thrown;
  }
};
