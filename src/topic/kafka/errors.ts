// Owns the one table of Kafka's error codes: what each is called, what the operator is told, and what the
// asker does next. Knows no request and no connection.
// https://kafka.apache.org/protocol#protocol_error_codes
import { protocolErrorsCodesById } from '@platformatic/kafka';
import { type ErrorKind, type Facts, VarveError } from '../../errors.ts';

/**
 * retry: the same request again, a little later; refresh: ask for leaders and coordinators first, then again;
 * recover: the transaction is lost, ask for the producer id anew; fenced: as recover, and an answer of this
 * kind to that very question is the proof that another instance has taken over; stop: somebody must act.
 */
export type Action = 'retry' | 'refresh' | 'recover' | 'fenced' | 'stop';

type Meaning = readonly [kind: ErrorKind, action: Action];

const RETRY: Meaning = ['topic_busy', 'retry'];
const REFRESH: Meaning = ['topic_busy', 'refresh'];
const RECOVER: Meaning = ['topic_busy', 'recover'];
const DENIED: Meaning = ['topic_denied', 'stop'];
const UNFIT: Meaning = ['topic_unfit', 'stop'];
/** What has no line here is not understood, and stops. */
const UNKNOWN: Meaning = ['protocol_error', 'stop'];

const MEANINGS: Readonly<Record<number, Meaning>> = {
  1: ['offset_lost', 'stop'], // OFFSET_OUT_OF_RANGE
  2: ['record_corrupt', 'stop'], // CORRUPT_MESSAGE: the broker's checksum of our batch failed
  3: REFRESH, // UNKNOWN_TOPIC_OR_PARTITION: also while a new topic spreads, or a leader moves
  5: REFRESH, // LEADER_NOT_AVAILABLE
  6: REFRESH, // NOT_LEADER_OR_FOLLOWER
  7: RETRY, // REQUEST_TIMED_OUT
  8: REFRESH, // BROKER_NOT_AVAILABLE
  9: REFRESH, // REPLICA_NOT_AVAILABLE
  10: UNFIT, // MESSAGE_TOO_LARGE
  13: REFRESH, // NETWORK_EXCEPTION
  14: RETRY, // COORDINATOR_LOAD_IN_PROGRESS
  15: REFRESH, // COORDINATOR_NOT_AVAILABLE
  16: REFRESH, // NOT_COORDINATOR
  17: UNFIT, // INVALID_TOPIC_EXCEPTION
  18: UNFIT, // RECORD_LIST_TOO_LARGE
  19: RETRY, // NOT_ENOUGH_REPLICAS
  20: RETRY, // NOT_ENOUGH_REPLICAS_AFTER_APPEND: idempotence recognises the second attempt
  23: UNFIT, // INCONSISTENT_GROUP_PROTOCOL: the group's name is somebody else's
  24: UNFIT, // INVALID_GROUP_ID
  26: UNFIT, // INVALID_SESSION_TIMEOUT: outside group.min and group.max.session.timeout.ms
  29: DENIED, // TOPIC_AUTHORIZATION_FAILED
  30: DENIED, // GROUP_AUTHORIZATION_FAILED
  31: DENIED, // CLUSTER_AUTHORIZATION_FAILED
  32: UNFIT, // INVALID_TIMESTAMP
  33: DENIED, // UNSUPPORTED_SASL_MECHANISM
  34: DENIED, // ILLEGAL_SASL_STATE
  35: UNFIT, // UNSUPPORTED_VERSION
  36: UNFIT, // TOPIC_ALREADY_EXISTS
  37: UNFIT, // INVALID_PARTITIONS
  38: UNFIT, // INVALID_REPLICATION_FACTOR
  39: UNFIT, // INVALID_REPLICA_ASSIGNMENT
  40: UNFIT, // INVALID_CONFIG
  41: REFRESH, // NOT_CONTROLLER
  44: UNFIT, // POLICY_VIOLATION
  45: RECOVER, // OUT_OF_ORDER_SEQUENCE_NUMBER
  46: RECOVER, // DUPLICATE_SEQUENCE_NUMBER
  47: RECOVER, // INVALID_PRODUCER_EPOCH: a transaction that timed out says the same as one taken over
  48: RECOVER, // INVALID_TXN_STATE
  49: RECOVER, // INVALID_PRODUCER_ID_MAPPING
  50: UNFIT, // INVALID_TRANSACTION_TIMEOUT
  51: RETRY, // CONCURRENT_TRANSACTIONS: the last one is still being closed
  52: RECOVER, // TRANSACTION_COORDINATOR_FENCED
  53: DENIED, // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
  54: DENIED, // SECURITY_DISABLED
  56: REFRESH, // KAFKA_STORAGE_ERROR: the broker gives the partition away
  58: DENIED, // SASL_AUTHENTICATION_FAILED
  59: RECOVER, // UNKNOWN_PRODUCER_ID
  60: RETRY, // REASSIGNMENT_IN_PROGRESS
  72: REFRESH, // LISTENER_NOT_FOUND
  73: UNFIT, // TOPIC_DELETION_DISABLED
  74: REFRESH, // FENCED_LEADER_EPOCH
  75: REFRESH, // UNKNOWN_LEADER_EPOCH
  76: UNFIT, // UNSUPPORTED_COMPRESSION_TYPE
  78: RETRY, // OFFSET_NOT_AVAILABLE: a new leader does not know its own end yet
  80: REFRESH, // PREFERRED_LEADER_NOT_AVAILABLE
  81: UNFIT, // GROUP_MAX_SIZE_REACHED
  83: REFRESH, // ELIGIBLE_LEADERS_NOT_AVAILABLE
  87: UNFIT, // INVALID_RECORD
  89: RETRY, // THROTTLING_QUOTA_EXCEEDED
  90: ['fenced', 'fenced'], // PRODUCER_FENCED
  100: REFRESH, // UNKNOWN_TOPIC_ID
  103: REFRESH, // INCONSISTENT_TOPIC_ID
  108: REFRESH, // NEW_LEADER_ELECTED
  120: RECOVER, // TRANSACTION_ABORTABLE
  [-1]: RETRY, // UNKNOWN_SERVER_ERROR
};

/** What to do, by kind: one sentence each, behind the one that says what happened. */
const ADVICE: Partial<Record<ErrorKind, string>> = {
  topic_busy: 'It is tried again by itself.',
  topic_denied: 'Check the user, its password and its rights (ACLs) on the cluster.',
  topic_unfit: 'Change the setting on the cluster or in the configuration, then start again.',
  fenced: 'Another instance of this pipeline has taken over; make sure that only one is meant to run.',
  offset_lost: 'The retained range of the topic no longer holds it.',
  record_corrupt: 'Bytes were damaged on the way to the broker; nothing of the batch was kept.',
  protocol_error: 'This answer is not understood, so nothing more is done.',
};

const meaningOf = (code: number): Meaning => MEANINGS[code] ?? UNKNOWN;

const codeNames: Readonly<Record<string, string>> = protocolErrorsCodesById;

/** The name Kafka's manual gives to an error code. */
const nameOf = (code: number): string => codeNames[code] ?? `code ${code}`;

/** What the asker does after this answer; `stop` for a code that has no line in the table. */
export const actionOf = (code: number): Action => meaningOf(code)[1];

/**
 * A broker's refusal as an error: `what` completes "Kafka refused to ...". The facts get `code` and `error`.
 */
export const kafkaError = (code: number, what: string, facts: Facts = {}): VarveError => {
  const [kind] = meaningOf(code);
  const error = nameOf(code);
  return new VarveError(kind, `Kafka refused to ${what} (${error}). ${ADVICE[kind] ?? ''}`.trimEnd(), {
    facts: { ...facts, code, error },
  });
};

/** No answer came: `mayHaveActed` says whether the broker may have done what was asked all the same. */
export const unreachable = (sentence: string, mayHaveActed: boolean, cause?: unknown): VarveError =>
  new VarveError('topic_unreachable', sentence, {
    facts: { outcome: mayHaveActed ? 'unknown' : 'no_effect' },
    ...(cause === undefined ? {} : { cause }),
  });

/**
 * Whether asking the same again, a little later, may help: not when a code says that the transaction is lost.
 */
export const mayRepeat = (error: unknown): error is VarveError => {
  if (!(error instanceof VarveError) || error.outcome !== 'retry') return false;
  const { code } = error.facts;
  return typeof code !== 'number' || !['recover', 'fenced'].includes(actionOf(code));
};

/** True when a request was sent and no answer came: the broker may or may not have acted on it. */
export const unknownOutcome = (error: unknown): boolean =>
  error instanceof VarveError && error.kind === 'topic_unreachable' && error.facts.outcome === 'unknown';
