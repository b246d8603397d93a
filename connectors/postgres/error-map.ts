// Owns the translation of what PostgreSQL and the network answer into Varve's error kinds. Knows SQLSTATEs
// and socket codes (https://www.postgresql.org/docs/current/errcodes-appendix.html); never repeats a detail
// line, which may hold rows.
import { type ErrorKind, VarveError } from '../../src/errors.ts';

type Meaning = readonly [kind: ErrorKind, advice: string];

const UNREACHABLE =
  'Varve tries again by itself; if it lasts, check that the server runs and can be reached.';
const BUSY =
  'Varve tries again by itself; if it lasts, look for long transactions and locks in pg_stat_activity.';
const READ_ONLY =
  'The server takes no writes: it is a standby, or default_transaction_read_only is on. Varve tries ' +
  'again by itself.';
const DENIED = 'Check user, password, pg_hba.conf and the grants of the role.';

/** The longest prefix of the SQLSTATE that is listed decides. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  '08': ['source_unreachable', UNREACHABLE],
  '25006': ['source_busy', READ_ONLY],
  '28': ['source_denied', DENIED],
  '3D': ['source_not_ready', 'Create the database or correct its name in the configuration.'],
  '40': ['source_busy', BUSY],
  '42501': ['source_denied', DENIED],
  '53': [
    'source_unreachable',
    'The server is short of connections, memory or disk; Varve tries again by itself.',
  ],
  '55P03': ['source_busy', BUSY],
  '57014': ['source_busy', BUSY],
  '57P': ['source_unreachable', UNREACHABLE],
  '58P01': ['log_lost', 'A file of the log is gone on the server; the tables need a new snapshot.'],
};

const UNKNOWN: Meaning = ['internal', 'Varve does not know this answer; please report it with the SQLSTATE.'];

const UNTRUSTED =
  'The server has no certificate that Varve trusts for this host name; set tls.ca to the authority that ' +
  'signed it.';

/** TLS refusals are for people to mend, the rest of what a socket says passes by itself. */
const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO)/;
const NO_TLS = /does not support SSL|establishing an SSL connection/;

type Thrown = { code?: unknown; message?: unknown; severity?: unknown };

const fieldsOf = (thrown: unknown): Thrown => (typeof thrown === 'object' && thrown !== null ? thrown : {});

const isServerAnswer = (fields: Thrown): fields is Thrown & { code: string } =>
  typeof fields.code === 'string' && /^[0-9A-Z]{5}$/.test(fields.code) && fields.severity !== undefined;

/** The five characters of a server's answer, null for anything else. */
export const sqlStateOf = (thrown: unknown): string | null => {
  const fields = fieldsOf(thrown);
  return isServerAnswer(fields) ? fields.code : null;
};

const meaningOf = (state: string): Meaning => {
  for (let length = state.length; length > 1; length--) {
    const meaning = MEANINGS[state.slice(0, length)];
    if (meaning) return meaning;
  }
  return UNKNOWN;
};

/** Classes 22 and 23 are about data: their message text quotes values, so it stays out. */
const textOf = (state: string, message: unknown): string =>
  /^2[23]/.test(state) || typeof message !== 'string' ? 'an error about a value' : message;

/**
 * What a `pg` client or socket threw, as a VarveError; a VarveError comes back as it is. `doing` completes
 * the sentence "PostgreSQL answered (x): y; while <doing>", such as `connecting to db1:5432/shop`.
 */
export const mapPostgresError = (thrown: unknown, doing: string): VarveError => {
  if (thrown instanceof VarveError) return thrown;
  const fields = fieldsOf(thrown);
  if (isServerAnswer(fields)) {
    const [kind, advice] = meaningOf(fields.code);
    const said = textOf(fields.code, fields.message);
    return new VarveError(kind, `PostgreSQL answered (${fields.code}): ${said}; while ${doing}. ${advice}`, {
      facts: { sqlstate: fields.code },
    });
  }
  const code = typeof fields.code === 'string' ? fields.code : null;
  const text =
    typeof fields.message === 'string' && fields.message !== '' ? fields.message : (code ?? 'unknown');
  const facts = code === null ? {} : { code };
  if (NO_TLS.test(text)) {
    return new VarveError(
      'source_denied',
      `The server refused TLS while ${doing}. Turn TLS on there, or off here.`,
      {
        facts,
      },
    );
  }
  if (code !== null && TLS_CODE.test(code)) {
    return new VarveError('source_denied', `TLS failed (${code}) while ${doing}. ${UNTRUSTED}`, { facts });
  }
  return new VarveError(
    'source_unreachable',
    `The connection failed (${text}) while ${doing}. ${UNREACHABLE}`,
    {
      facts,
      cause: thrown,
    },
  );
};
