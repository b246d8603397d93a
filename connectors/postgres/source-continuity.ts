// Owns asking the server whether a place in its log can be continued. What the answers mean is told by the
// parts that it asks: the timeline, the slot, the last transaction.
import type { Identity } from '../../src/connector.ts';
import { verifyTimeline } from './identity.ts';
import type { LogPlace } from './log-place.ts';
import { DEFAULT_TIMING } from './log-reader.ts';
import type { ReplicationRequest } from './replication-client.ts';
import { readSlot } from './slot.ts';
import type { SourceClients } from './source-clients.ts';
import { readEnd } from './source-objects.ts';
import { verifySlot } from './source-resume.ts';
import { verifyLast } from './source-tail.ts';

type Continuity = { place: LogPlace; request: ReplicationRequest; stored: Identity | null };

/** Throws `log_missing`, `log_lost`, `history_gap`, `source_rewound` or `log_busy`. */
export const verifyContinuity = async (
  clients: SourceClients,
  { place, request, stored }: Continuity,
): Promise<void> => {
  const { slot: slotName, connection } = clients.settings;
  const { resume: after, last } = place;
  const confirmed = await clients.ask('verifying the replication slot', async (side) => {
    const slot = await readSlot(side, slotName);
    const end = await readEnd(side);
    if (slot !== null && stored !== null) {
      await clients.withReplication('verifying the timeline', (replication) =>
        verifyTimeline(replication, stored, after),
      );
    }
    verifySlot({ slot, slotName, database: connection.database, after, end });
    return slot?.confirmedFlush ?? null;
  });
  // What was confirmed is not sent again; nor can it be another history, because the slot would be as old.
  if (last !== null && confirmed !== null && confirmed <= last.position)
    await verifyLast({ ...request, timing: DEFAULT_TIMING }, last);
};
