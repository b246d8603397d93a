// Owns what a REST catalog's refusals and silences mean, and the sentences for people. Knows no request: what
// the HTTP library throws may hold a token, so it is never passed on as a cause.
import { VarveError } from '../../../errors.ts';

/** An answer that is no success; `type` is '' where it was not the catalog that answered. */
export type Refusal = { status: number; type: string; message: string };

export type Question = {
  /** Address of the catalog. */
  uri: string;
  /** What was being done, as in "load public.orders". */
  what: string;
};

const IMPOSTOR = /^(?:ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|EPROTO)/;
const MAX_REASON_LETTERS = 500;

export const readRefusal = (status: number, body: unknown): Refusal => {
  const error = (body as { error?: { type?: unknown; message?: unknown } } | null)?.error;
  const type = typeof error?.type === 'string' ? error.type : '';
  const message = typeof error?.message === 'string' ? error.message : '';
  return { status, type, message: message.replace(/[.\s]+$/, '').slice(0, MAX_REASON_LETTERS) };
};

const saidBy = ({ status, type, message }: Refusal): string =>
  [String(status), type, message].filter((part) => part !== '').join(', ');

/** Trying again may help. */
export const isPassing = ({ status }: Refusal): boolean =>
  status >= 500 || status === 408 || status === 425 || status === 429;

export const unreachable = (why: string, { uri, what }: Question): VarveError =>
  new VarveError(
    'catalog_unreachable',
    `Could not ${what}: the catalog at ${uri} gives no usable answer (${why}). It is tried again; nothing ` +
      'is lost meanwhile.',
    { facts: { uri } },
  );

/** The answer came, and cannot be right. */
export const wrongAnswer = (why: string, { uri, what }: Question): VarveError =>
  new VarveError(
    'protocol_error',
    `Could not ${what}: what answers at ${uri} ${why}. Check table.catalog.uri, its path included.`,
    { facts: { uri } },
  );

/** No answer. `code`: the library's. */
export const explainSilence = (code: string, question: Question): VarveError => {
  if (!IMPOSTOR.test(code)) return unreachable(code === '' ? 'the connection broke' : code, question);
  const { uri, what } = question;
  return new VarveError(
    'catalog_denied',
    `Could not ${what}: no trust between us and the catalog at ${uri} (${code}). Check its certificate, ` +
      'and ca, cert and key in table.catalog.tls.',
    { facts: { uri, code } },
  );
};

export const explainRefusal = (refusal: Refusal, question: Question): VarveError => {
  const { uri, what } = question;
  const facts = { uri, status: refusal.status, type: refusal.type };
  const said = saidBy(refusal);
  if (refusal.status === 401 || refusal.status === 403)
    return new VarveError(
      'catalog_denied',
      `Could not ${what}: the catalog at ${uri} does not allow it (${said}). Check token or oauth in ` +
        'table.catalog, and what that principal may do.',
      { facts },
    );
  if (isPassing(refusal)) return unreachable(said, question);
  if (refusal.type === '') return wrongAnswer(`is no Iceberg REST catalog (${said})`, question);
  return new VarveError(
    'protocol_error',
    `Could not ${what}: the catalog at ${uri} refuses it (${said}). Check table.catalog, its warehouse ` +
      'included, and the log of the catalog.',
    { facts },
  );
};
