// Owns the closed list of what can go wrong and what each leads to. Thrown low, decided once; the thrower
// writes the sentence (what, where, why, what to do), because only it knows the facts. Never holds a row
// value or a secret.

/**
 * retry: comes right by itself; stop: somebody must act, nothing is lost meanwhile; usage: the call was
 * wrong.
 */
export type Outcome = 'retry' | 'stop' | 'usage';

export const ERROR_KINDS = {
  config_invalid: 'usage',
  usage: 'usage',
  source_not_ready: 'stop',
  source_unreachable: 'retry',
  source_busy: 'retry',
  source_denied: 'stop',
  source_changed: 'stop',
  source_rewound: 'stop',
  log_missing: 'stop',
  log_lost: 'stop',
  log_busy: 'retry',
  history_gap: 'stop',
  table_stale: 'stop',
  key_changed: 'stop',
  protocol_error: 'stop',
  value_unsupported: 'stop',
  null_in_required: 'stop',
  name_collision: 'stop',
  state_lost: 'stop',
  state_corrupt: 'stop',
  state_newer: 'stop',
  state_foreign: 'stop',
  state_locked: 'stop',
  disk_full: 'retry',
  disk_failed: 'stop',
  topic_full: 'retry',
  topic_changed: 'stop',
  topic_unreachable: 'retry',
  topic_busy: 'retry',
  topic_denied: 'stop',
  topic_unfit: 'stop',
  fenced: 'stop',
  hanging_transaction: 'stop',
  offset_lost: 'stop',
  registry_unreachable: 'retry',
  registry_denied: 'stop',
  schema_unknown: 'stop',
  schema_incompatible: 'stop',
  record_corrupt: 'stop',
  record_too_large: 'stop',
  truncate_refused: 'stop',
  transaction_too_large: 'stop',
  table_corrupt: 'stop',
  table_foreign: 'stop',
  erase_incomplete: 'stop',
  table_paused: 'retry',
  commit_conflict: 'retry',
  store_failed: 'stop',
  store_unreachable: 'retry',
  store_denied: 'stop',
  store_unfit: 'stop',
  catalog_unreachable: 'retry',
  catalog_denied: 'stop',
  engine_failed: 'retry',
  engine_memory: 'retry',
  internal: 'stop',
} as const satisfies Record<string, Outcome>;

export type ErrorKind = keyof typeof ERROR_KINDS;

export type Facts = Readonly<Record<string, string | number | bigint | boolean | null>>;

export class VarveError extends Error {
  readonly kind: ErrorKind;
  readonly facts: Facts;

  constructor(kind: ErrorKind, sentence: string, more: { facts?: Facts; cause?: unknown } = {}) {
    super(sentence, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'VarveError';
    this.kind = kind;
    this.facts = more.facts ?? {};
  }

  get outcome(): Outcome {
    return ERROR_KINDS[this.kind];
  }
}

/** Whatever was thrown, as a VarveError: what nobody foresaw is `internal`, and stops. */
export const asVarveError = (thrown: unknown): VarveError =>
  thrown instanceof VarveError
    ? thrown
    : new VarveError('internal', thrown instanceof Error ? thrown.message : String(thrown), {
        cause: thrown,
      });
