// An HTTP proxy in front of a real S3 server, or a catalog, that does wrong as it is told: refuses, answers
// wrongly before or after the work is done, cuts, damages, falls silent. Knows no object.
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestS3 } from './s3.ts';

export type S3Call = {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Uint8Array;
};

export type S3Fault =
  /** An error in the store's words; `done`: the server did the work all the same. */
  | { kind: 'answer'; status: number; code: string; done: boolean; body?: string }
  /** No answer: the connection ends. */
  | { kind: 'cut'; done: boolean }
  /** The connection ends in the midst of the answer's body. */
  | { kind: 'half' }
  /** The body lacks its end, and the header says so too. */
  | { kind: 'truncate' }
  /** A byte of the body is another. */
  | { kind: 'damage' }
  /** No answer and no end. */
  | { kind: 'silent'; done: boolean };

/** What happens to this call; null: nothing. */
export type S3Plan = (call: S3Call) => S3Fault | null | Promise<S3Fault | null>;

type S3Proxy = {
  readonly endpoint: string;
  /** Calls seen, in order. */
  readonly calls: S3Call[];
  plan: S3Plan;
  [Symbol.asyncDispose](): Promise<void>;
};

type Answer = { status: number; headers: IncomingMessage['headers']; body: Buffer };

const bodyOf = async (message: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

const forward = async (port: number, call: S3Call): Promise<Answer> => {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const { method, url: path, headers, body } = call;
  const sent = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, resolve);
  sent.on('error', reject);
  sent.end(body);
  const answer = await promise;
  return { status: answer.statusCode ?? 502, headers: answer.headers, body: await bodyOf(answer) };
};

const give = (response: ServerResponse, { status, headers, body }: Answer): void => {
  // The server was asked with the client's headers; the connection is ours.
  const { connection: _, 'transfer-encoding': __, ...kept } = headers;
  response.writeHead(status, kept);
  response.end(body);
};

const errorBody = (code: string): string =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>made by a test</Message></Error>`;

const textAnswer = (status: number, text: string): Answer => {
  const body = Buffer.from(text);
  const headers = { 'content-type': 'application/xml', 'content-length': String(body.length) };
  return { status, headers, body };
};

const half = ({ body }: Answer): Buffer => body.subarray(0, body.length >> 1);

const shorten = (answer: Answer): Answer => {
  const body = half(answer);
  return { ...answer, headers: { ...answer.headers, 'content-length': String(body.length) }, body };
};

const spoil = (fault: S3Fault, answer: Answer, response: ServerResponse): void => {
  if (fault.kind === 'answer') give(response, textAnswer(fault.status, fault.body ?? errorBody(fault.code)));
  else if (fault.kind === 'cut') response.destroy();
  else if (fault.kind === 'truncate') give(response, shorten(answer));
  else if (fault.kind === 'half') {
    response.writeHead(answer.status, answer.headers);
    response.write(half(answer), () => response.destroy());
  } else if (fault.kind === 'damage') {
    const at = answer.body.length >> 1;
    answer.body[at] = (answer.body[at] ?? 0) ^ 1;
    // As of a store that keeps no checksum: the library would find it by itself.
    const kept = Object.entries(answer.headers).filter(([name]) => !name.startsWith('x-amz-checksum-'));
    give(response, { ...answer, headers: Object.fromEntries(kept) });
  }
};

export const startS3Proxy = async (server: Pick<TestS3, 'port'>): Promise<S3Proxy> => {
  const calls: S3Call[] = [];
  const proxy: { plan: S3Plan } = { plan: () => null };
  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await bodyOf(incoming);
    const { method = '', url = '', headers } = incoming;
    const call = { method, url, headers, body };
    calls.push(call);
    const fault = await proxy.plan(call);
    if (fault === null) return give(response, await forward(server.port, call));
    const isDone = !('done' in fault) || fault.done;
    const nothing: Answer = { status: 0, headers: {}, body: Buffer.alloc(0) };
    spoil(fault, isDone ? await forward(server.port, call) : nothing, response);
  };
  const http = createServer((incoming, response) => {
    serve(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((listening) => http.listen(0, '127.0.0.1', listening));
  return Object.assign(proxy, {
    endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    calls,
    [Symbol.asyncDispose]: async () => {
      http.closeAllConnections();
      await new Promise((closed) => http.close(closed));
    },
  });
};
