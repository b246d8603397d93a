// Owns what a pipeline file may say of the catalog that tables are committed through. Knows the words of the
// file; reaches nobody.
import { z } from 'zod';
import { allowCleartext, CLEARTEXT, isProtected, tls } from './config-topic.ts';

const address = z
  .url({ protocol: /^https?$/, error: 'an address such as http://127.0.0.1:19120/iceberg' })
  .refine((text) => !/[@?#]/.test(text), 'an address alone: secrets belong under token or oauth');

const oauth = z.strictObject({
  token_url: address.describe('Where tokens are issued.'),
  client_id: z.string().min(1).describe('Whom the issuer knows us as.'),
  client_secret: z.string().min(1).describe('What we prove it with; best a reference.'),
  scope: z.string().min(1).nullable().default(null).describe("What is asked for; null: the issuer's."),
});

export const catalogChoices = z
  .strictObject({
    kind: z.literal('rest').describe('rest: a service that speaks the Iceberg REST catalog API.'),
    uri: address.describe('Address of the catalog: what stands before /v1.'),
    warehouse: z.string().min(1).nullable().default(null).describe("Which warehouse; null: the catalog's."),
    token: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe('A bearer token that lasts; best a reference.'),
    oauth: oauth.nullable().default(null).describe('OAuth2 client credentials, in place of a token.'),
    tls: tls.describe('How the catalog proves who it is; only for https, where it is on by itself.'),
    timeout_ms: z
      .number()
      .int()
      .min(100)
      .max(600_000)
      .default(30_000)
      .describe('Longest wait for one answer.'),
    allow_cleartext: allowCleartext,
  })
  .refine(({ token, oauth: asked }) => token === null || asked === null, {
    message: 'token or oauth: not both',
    path: ['token'],
  })
  .refine(({ uri, tls: parts }) => parts === null || uri.startsWith('https:'), {
    message: 'tls needs an address that begins with https://',
    path: ['tls'],
  })
  .refine(
    ({ uri, token, oauth: asked, allow_cleartext }) =>
      (token === null && asked === null) || allow_cleartext || isProtected(uri),
    { message: `http:// ${CLEARTEXT}`, path: ['uri'] },
  )
  .refine(({ oauth: asked, allow_cleartext }) => allow_cleartext || isProtected(asked?.token_url ?? null), {
    message: `http:// ${CLEARTEXT}`,
    path: ['oauth'],
  });
