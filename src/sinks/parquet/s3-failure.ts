// Owns what a failed request to an object store means: what passes by itself and is tried again, and what
// somebody must mend, with the sentence for it. Never holds a header, a body or a credential.
import { VarveError } from '../../errors.ts';

type Failure = {
  /** 0: no answer came, or none that could be read. */
  status: number;
  /** The store's name for it, or the system's, such as ECONNREFUSED. */
  code: string;
  /** The region that the store names instead of ours. */
  region?: string | null;
};

const PASSING: ReadonlySet<string> = new Set([
  'RequestTimeout',
  'RequestTimeTooSkewed',
  'ConditionalRequestConflict',
  'OperationAborted',
  'SlowDown',
  'BadDigest',
  'XAmzContentSHA256Mismatch',
  'IncompleteBody',
]);

const EXPIRED: ReadonlySet<string> = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'TokenRefreshRequired',
]);

const MISSING: ReadonlySet<string> = new Set(['NoSuchKey', 'NoSuchUpload']);

/** The bytes that came are not those that were stored, or no longer. */
export const CHECKSUM_MISMATCH = 'ChecksumMismatch';

/** One try that did not work. */
export class S3Failure extends Error {
  readonly status: number;
  readonly code: string;
  readonly region: string | null;

  constructor({ status, code, region }: Failure) {
    super(`${status === 0 ? 'no answer' : status}: ${code}`);
    this.name = 'S3Failure';
    this.status = status;
    this.code = code;
    this.region = region ?? null;
  }

  /** It may work when tried again; whether a write was done is not known. */
  get isPassing(): boolean {
    const { status, code } = this;
    const isBusy = status === 0 || status === 408 || status === 429 || status >= 500;
    return isBusy || this.isExpired || PASSING.has(code);
  }

  /** Fresh credentials may help. */
  get isExpired(): boolean {
    return EXPIRED.has(this.code);
  }

  /**
   * The object or the upload. Nothing else that is not found: a missing bucket, or a user whom the store does
   * not know, must never look like a table that was not made yet.
   */
  get isMissing(): boolean {
    return this.status === 404 && MISSING.has(this.code);
  }

  /** `onlyNew` met an object that is there. */
  get isTaken(): boolean {
    return this.status === 412;
  }
}

/** The library's name for having found no credentials anywhere. */
const NO_CREDENTIALS = 'CredentialsProviderError';

type LibraryError = Error & {
  code?: unknown;
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Readonly<Record<string, string>> };
  Region?: unknown;
};

/** What the library threw, without what it carries along: requests, headers, bodies. */
export const readFailure = (thrown: unknown): unknown => {
  if (thrown instanceof S3Failure || thrown instanceof VarveError || !(thrown instanceof Error))
    return thrown;
  const error: LibraryError = thrown;
  if (error.name === NO_CREDENTIALS) return new S3Failure({ status: 401, code: NO_CREDENTIALS });
  if (error.message === 'Region is missing') return new S3Failure({ status: 400, code: 'RegionMissing' });
  if (error.message.startsWith('Checksum mismatch'))
    return new S3Failure({ status: 0, code: CHECKSUM_MISMATCH });
  const status = error.$metadata?.httpStatusCode ?? 0;
  // A good status with an error is an answer that broke off, or that says in its body that it failed.
  if (status < 300) return new S3Failure({ status: 0, code: String(error.code ?? error.name) });
  const region = error.Region ?? error.$response?.headers?.['x-amz-bucket-region'];
  return new S3Failure({ status, code: error.name, region: typeof region === 'string' ? region : null });
};

const WRONG_REGION: ReadonlySet<string> = new Set([
  'PermanentRedirect',
  'TemporaryRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]);

const EXPIRED_ADVICE = 'the credentials have expired: renew them.';
const UNKNOWN_KEY = 'the store does not know the access key: check where the credentials come from.';
const DENIED: Readonly<Record<string, string>> = {
  [NO_CREDENTIALS]:
    'no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role.',
  InvalidAccessKeyId: UNKNOWN_KEY,
  XAdminUserNotFound: UNKNOWN_KEY,
  SignatureDoesNotMatch: 'the secret key is not the one of the access key: check the credentials.',
  RequestTimeTooSkewed: "this machine's clock is too far from the store's: set it.",
};
const MAY_NOT =
  'the credentials may not do that: allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket, ' +
  's3:AbortMultipartUpload and s3:ListBucketMultipartUploads there.';

const deniedFor = (failure: S3Failure): string | null => {
  const named = failure.isExpired ? EXPIRED_ADVICE : DENIED[failure.code];
  return named ?? (failure.status === 401 || failure.status === 403 ? MAY_NOT : null);
};

const regionAdvice = ({ status, code, region }: S3Failure): string | null => {
  if (code === 'RegionMissing') return 'no region is known: write table.s3.region, or set AWS_REGION.';
  if (!WRONG_REGION.has(code) && status !== 301 && status !== 307) return null;
  return `the bucket is in ${region ?? 'another region'}; write that as table.s3.region.`;
};

/** The error for who must decide: the operation, the URI, the store's word for it and what to do. */
export const s3Error = (verb: string, uri: string, failure: S3Failure): VarveError => {
  const { status, code } = failure;
  const facts = { uri, status, code };
  const could = `Could not ${verb} ${uri} (${status === 0 ? code : `${status} ${code}`})`;
  if (code === CHECKSUM_MISMATCH)
    return new VarveError('table_corrupt', `${uri} is not as it was written; restore it.`, { facts });
  const denied = deniedFor(failure);
  if (denied !== null) return new VarveError('store_denied', `${could}: ${denied}`, { facts });
  if (failure.isPassing) {
    const advice = 'Check table.s3.endpoint and the network; work goes on by itself when it comes back.';
    const sentence = `${could}: the object store does not answer as it should. ${advice}`;
    return new VarveError('store_unreachable', sentence, { facts });
  }
  const advice =
    regionAdvice(failure) ??
    (code === 'NoSuchBucket'
      ? 'there is no such bucket. Make it, or mend table.location.'
      : 'the object store refuses it. Check table.s3.');
  return new VarveError('store_failed', `${could}: ${advice}`, { facts });
};
