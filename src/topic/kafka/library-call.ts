// Owns the one way to use an API module of the Kafka library over our own connections. Knows no meaning of
// any question, and judges no answer.
import { type Reader, ResponseError, type Writer } from '@platformatic/kafka';
import { VarveError } from '../../errors.ts';
import type { ApiCall } from './connections.ts';

/** What each `<name>V<n>` of the library exports; used here for versions with flexible headers only. */
type ApiModule<Question extends unknown[], Answer> = {
  api: { key: number; version: number };
  createRequest: (...question: Question) => Writer;
  parseResponse: (...reply: [correlation: number, key: number, version: number, body: Reader]) => Answer;
};

/** Sends one request to a place that the caller has chosen. */
type Ask = (api: ApiCall, write: (out: Writer) => void) => Promise<Reader>;

/**
 * The answer as the library reads it. Its parsers throw when one item of many is an error; here the answer
 * comes back all the same, and the caller looks at each item's `errorCode`. Throws `protocol_error` for what
 * is no such answer.
 */
export const libraryCall = async <Question extends unknown[], Answer>(
  ask: Ask,
  { api, createRequest, parseResponse }: ApiModule<Question, Answer>,
  question: Question,
): Promise<Answer> => {
  const { key, version } = api;
  const body = await ask({ key, version, flexible: true }, (out) => {
    out.appendFrom(createRequest(...question));
  });
  try {
    return parseResponse(0, key, version, body);
  } catch (thrown) {
    if (thrown instanceof ResponseError) return thrown.response as Answer;
    const sentence = `An answer to API ${key}, version ${version}, could not be read. Is this Kafka?`;
    throw new VarveError('protocol_error', sentence, { facts: { key, version } });
  }
};
