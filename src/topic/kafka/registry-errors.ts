// Owns what a schema registry's refusals and silences mean, and the sentence for the operator. Knows no
// request. What the HTTP library throws holds passwords, so it is never passed on as a cause.
import { type Facts, VarveError } from '../../errors.ts';

const MAX_REASON_LETTERS = 2000;

/**
 * Of the registry itself; https://docs.confluent.io/platform/current/schema-registry/develop/api.html#errors
 */
const CODES = { subjectUnknown: 40401, schemaUnknown: 40403, levelUnset: 40408, readOnly: 42205 } as const;

/** Nobody answered, or not in time: trying again may help. */
const SILENCES = new Set([408, 425, 429]);

/** An answer with an HTTP status; `errorCode` -1: it was not the registry that answered. */
type Refusal = { readonly status: number; readonly errorCode: number; readonly message: string };

/** The refusal, if there was an answer at all. */
export const refusalOf = (thrown: unknown): Refusal | null =>
  thrown instanceof Error &&
  'status' in thrown &&
  typeof thrown.status === 'number' &&
  'errorCode' in thrown &&
  typeof thrown.errorCode === 'number'
    ? { status: thrown.status, errorCode: thrown.errorCode, message: reasonIn(thrown.message) }
    : null;

const reasonIn = (message: string): string => {
  const reason = message.replace(/; Error code: -?\d+$/, '').replace(/[.\s]+$/, '');
  return reason.length > MAX_REASON_LETTERS ? `${reason.slice(0, MAX_REASON_LETTERS)}…` : reason;
};

/** The registry itself says that it has none: neither a proxy nor a wrong address. */
export const isAbsent = (refusal: Refusal | null): boolean =>
  refusal?.status === 404 &&
  [CODES.subjectUnknown, CODES.schemaUnknown, CODES.levelUnset].some((code) => code === refusal.errorCode);

export const isSubjectAbsent = (refusal: Refusal | null): boolean =>
  refusal?.status === 404 && refusal.errorCode === CODES.subjectUnknown;

export type Question = {
  /** Address of the registry. */
  readonly url: string;
  /** What was being done, as in "read schema 7". */
  readonly what: string;
  readonly timeoutMs: number;
  readonly facts: Facts;
};

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';

const IMPOSTOR = /^(?:ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|EPROTO)/;

/** What was thrown, as the kind it is. A VarveError stays what it is. */
export const explainRegistry = (thrown: unknown, question: Question): VarveError => {
  if (thrown instanceof VarveError) return thrown;
  const { url, what, facts } = question;
  const refusal = refusalOf(thrown);
  if (refusal !== null) return explainRefusal(refusal, question);
  const code = codeOf(thrown);
  if (IMPOSTOR.test(code)) {
    return new VarveError(
      'registry_denied',
      `Could not ${what}: no trust between us and the schema registry at ${url} (${code}). Check its ` +
        'certificate, and ca, cert and key in topic.registry.tls.',
      { facts: { ...facts, url, code } },
    );
  }
  return unreachable(code === '' ? 'it did not answer' : code, question);
};

/** Retryable: nothing is lost, and only what needs a new schema waits. */
export const unreachable = (why: string, { url, what, facts }: Question): VarveError =>
  new VarveError(
    'registry_unreachable',
    `Could not ${what}: the schema registry at ${url} does not answer (${why}). It is tried again; changes ` +
      'flow meanwhile as long as they need no new schema.',
    { facts: { ...facts, url } },
  );

const explainRefusal = (refusal: Refusal, question: Question): VarveError => {
  const { status, errorCode, message } = refusal;
  const { url, what } = question;
  const facts = { ...question.facts, url, status };
  const said = `${status}: ${message}`;
  if (status >= 500 || SILENCES.has(status)) return unreachable(said, question);
  if (status === 401 || status === 403 || errorCode === CODES.readOnly) {
    return new VarveError(
      'registry_denied',
      `Could not ${what}: the schema registry at ${url} does not allow it (${said}). Check ` +
        'topic.registry.auth, and what that user may do.',
      { facts },
    );
  }
  if (isAbsent(refusal)) {
    return new VarveError(
      'schema_unknown',
      `Could not ${what}: the schema registry at ${url} has none (${said}). Was it emptied, or is it ` +
        'another one than the topics were written with? Put the schemas back, or name the right registry.',
      { facts },
    );
  }
  return new VarveError(
    'protocol_error',
    `Could not ${what}: what answers at ${url} is no schema registry, or refuses the question (${said}). ` +
      'Check topic.registry.url, its path included.',
    { facts },
  );
};

/** The registry will not have this schema: by its rules (409), or because it takes it for none (422). */
export const incompatible = (
  subject: string,
  refusal: Refusal,
  { url, level }: { url: string; level: string | null },
): VarveError =>
  new VarveError(
    'schema_incompatible',
    `The schema registry at ${url} refuses the new schema of ${subject}: ${refusal.message}. ` +
      `Its compatibility is ${level ?? 'unknown'}. Allow the change there, for this subject and at least ` +
      `this once (PUT /config/${encodeURIComponent(subject)}), then start again. To undo it in the source ` +
      'does not help: what was written in between needs the schema. Until then none of it is published, ' +
      'and nothing is lost.',
    { facts: { subject, url, status: refusal.status, compatibility: level } },
  );

/** The answer came, and cannot be right. */
export const wrongAnswer = (why: string, { url, what, facts }: Question): VarveError =>
  new VarveError(
    'protocol_error',
    `Could not ${what}: the schema registry at ${url} ${why}. Nothing was published with it. Check the ` +
      'registry, and what stands between it and us.',
    { facts: { ...facts, url } },
  );
