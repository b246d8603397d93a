// Owns where tables lie in an object store: what `s3://bucket/prefix` may say, and which key a URI means.
// Pure: speaks to nobody.
import { VarveError } from '../../errors.ts';

/** As the file says it. */
export type S3Choices = {
  /** Of a store that is not AWS's own: `http://host:port`. */
  endpoint?: string | undefined;
  region?: string | undefined;
  /** The bucket in the path instead of the host name; absent: where an endpoint is given. */
  path_style?: boolean | undefined;
};

export const isS3 = (location: string): boolean => location.startsWith('s3://');

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Readers would take these for escapes, queries or globs, each in its own way. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const UNSAFE = /[%#?*[\]{}\\\u0000-\u001f\u007f]/;

/** Null, or what is wrong with a location that begins with `s3://`. */
export const s3Mistake = (location: string): string | null => {
  const [bucket = '', ...parts] = location.slice('s3://'.length).replace(/\/$/, '').split('/');
  if (!BUCKET.test(bucket)) return `${JSON.stringify(bucket)} is no name of a bucket`;
  if (parts.some((part) => part === '' || part === '.' || part === '..'))
    return 'the prefix has an empty part, . or ..';
  if (UNSAFE.test(location)) return 'a prefix is without % # ? * [ ] { } \\ and controls';
  return null;
};

/** Without the slash at its end. Throws config_invalid. */
export const s3Root = (location: string): string => {
  const mistake = s3Mistake(location);
  if (mistake === null) return location.replace(/\/$/, '');
  throw new VarveError('config_invalid', `The location ${location} cannot be used: ${mistake}.`);
};

/**
 * Bucket and key of `s3://`, in the library's words; also as others spell it: `s3a://`, `s3n://`. Throws
 * table_foreign.
 */
export const s3Object = (uri: string): { Bucket: string; Key: string } => {
  const [, Bucket, Key] = /^s3[an]?:\/\/([^/]+)\/(.*)$/s.exec(uri) ?? [];
  const isPlain = Key !== undefined && !Key.split('/').some((part) => part === '.' || part === '..');
  if (Bucket !== undefined && isPlain) return { Bucket, Key };
  const sentence = `${uri} is not in an object store; open the table where it was written.`;
  throw new VarveError('table_foreign', sentence, { facts: { uri } });
};
