// Owns the decision whether a stored position can be continued from a slot as it stands now. Pure.
//
//   log:      ----restart_lsn------confirmed_flush-----checkpoint-----------end----->
//             the server keeps all from restart on; it sends commits after max(confirmed_flush, checkpoint)
import { VarveError } from '../../src/errors.ts';
import { formatLsn } from './lsn.ts';
import { type SlotState, slotBusy } from './slot.ts';

type ResumeFacts = {
  slot: SlotState | null;
  slotName: string;
  database: string;
  /** Our durable checkpoint. */
  after: bigint;
  /** Where the server's log ends now. */
  end: bigint;
};

const REPAIR =
  'Run varve snapshot FILE --all to read the tables again, or varve resume FILE --accept-gap to go on ' +
  'without what is lost.';

/**
 * Throws `log_missing`, `log_lost`, `source_rewound`, `history_gap` or `log_busy`; returns when nothing is
 * lost.
 */
export const verifySlot = ({ slot, slotName, database, after, end }: ResumeFacts): void => {
  const position = formatLsn(after);
  if (slot === null || slot.confirmedFlush === null) {
    throw new VarveError(
      'log_missing',
      `The slot ${slotName} does not exist, so the changes after ${position} (the log ends at ` +
        `${formatLsn(end)}) are not ` +
        `kept for us. ${REPAIR}`,
      { facts: { slot: slotName, checkpoint: position, end: formatLsn(end) } },
    );
  }
  if (slot.plugin !== 'pgoutput' || slot.database !== database) {
    throw new VarveError(
      'log_missing',
      `The slot ${slotName} is not ours: it decodes database ${slot.database ?? 'none'} with ` +
        `${slot.plugin ?? 'no plugin'}, we ` +
        `need ${database} with pgoutput. Set source.slot to a free name; the changes after ${position} ` +
        `are lost. ${REPAIR}`,
      { facts: { slot: slotName, database: slot.database, plugin: slot.plugin } },
    );
  }
  if (slot.walStatus === 'lost' || slot.invalidationReason !== null) throw lost(slot, after);
  if (end < after) {
    throw new VarveError(
      'source_rewound',
      `The source's log ends at ${formatLsn(end)}, before our checkpoint ${position}: it was restored ` +
        `from an older copy, and ` +
        `changes that we have published never happened there. Run varve snapshot FILE --all to read the ` +
        `tables again.`,
      { facts: { end: formatLsn(end), checkpoint: position } },
    );
  }
  if (slot.confirmedFlush > after) throw gap(slot.name, slot.confirmedFlush, after);
  if (slot.holder !== null) throw slotBusy(slot);
};

const lost = (
  { name, invalidationReason, restart, confirmedFlush }: SlotState,
  after: bigint,
): VarveError => {
  const kept = restart ?? confirmedFlush;
  return new VarveError(
    'log_lost',
    `The server gave up the slot ${name} (${invalidationReason ?? 'wal_removed'}): changes after our ` +
      `checkpoint ` +
      `${formatLsn(after)} are gone; the slot stood at ` +
      `${kept === null ? 'no position' : formatLsn(kept)}. ${REPAIR} Before ` +
      'that, raise max_slot_wal_keep_size or idle_replication_slot_timeout.',
    {
      facts: {
        slot: name,
        checkpoint: formatLsn(after),
        slot_position: kept === null ? null : formatLsn(kept),
        reason: invalidationReason,
      },
    },
  );
};

const gap = (name: string, confirmed: bigint, after: bigint): VarveError =>
  new VarveError(
    'history_gap',
    `The slot ${name} has moved to ${formatLsn(confirmed)}, our checkpoint is ${formatLsn(after)}: ` +
      `${confirmed - after} bytes ` +
      `of log in between were read by somebody else, or the slot was made again. ${REPAIR}`,
    {
      facts: {
        slot: name,
        confirmed_flush: formatLsn(confirmed),
        checkpoint: formatLsn(after),
        bytes: confirmed - after,
      },
    },
  );
