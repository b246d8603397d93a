// Owns what a pipeline file may say of a place for files: a directory, or an object store and how it is
// reached. Shared by the tables and by values that no topic takes; opens nothing.
import { z } from 'zod';
import { isS3, s3Mistake } from './sinks/parquet/s3-place.ts';

export const s3Choices = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/, error: 'an address such as http://127.0.0.1:9000' })
    .refine((text) => !/@|[?#]/.test(text), 'an address alone: credentials come from the AWS chain')
    .optional()
    .describe("Address of a store that is not AWS's own."),
  region: z
    .string()
    .regex(/^[a-z0-9-]+$/, 'a region such as eu-central-1')
    .optional()
    .describe('Region of the bucket; AWS_REGION or the profile says it if absent.'),
  path_style: z
    .boolean()
    .optional()
    .describe('The bucket in the path, not in the host name; true where an endpoint is given.'),
});

/** Null, or what is wrong with where the files shall lie. */
const placeMistake = (location: string): string | null => {
  if (isS3(location)) return s3Mistake(location);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(location)) return 'a directory, or s3://bucket/prefix';
  return null;
};

/** A directory, or `s3://bucket/prefix`. */
export const place = z
  .string()
  .min(1)
  .superRefine((location, { addIssue }) => {
    const mistake = placeMistake(location);
    if (mistake !== null) addIssue(mistake);
  });
