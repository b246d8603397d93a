// A server of fixed answers in a REST catalog's place, and catalogs opened on it with a clock of the test's.
// Knows no table.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { openRestCatalog } from '../../src/sinks/parquet/iceberg/catalog-rest.ts';
import type { RestChoices } from '../../src/sinks/parquet/iceberg/catalog-rest-client.ts';

type Call = { method: string; url: string; headers: IncomingMessage['headers']; body: string };
export type ScriptedAnswer = { status?: number; body?: unknown; text?: string };
type Script = (call: Call) => ScriptedAnswer | null;

export const refusal = (code: number, type: string, message: string): ScriptedAnswer => ({
  status: code,
  body: { error: { code, type, message } },
});

/** Answers as it is told; what it is not told about, as an empty catalog without a prefix. */
export const startScriptedCatalog = async (
  script: Script,
  pems: { key: string; cert: string } | null = null,
) => {
  const calls: Call[] = [];
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    let body = '';
    for await (const chunk of incoming) body += String(chunk);
    const call = { method: incoming.method ?? '', url: incoming.url ?? '', headers: incoming.headers, body };
    calls.push(call);
    const isConfig = call.url.startsWith('/v1/config');
    const usual: ScriptedAnswer = isConfig
      ? { body: { defaults: {}, overrides: {} } }
      : refusal(404, 'NoSuchTableException', 'none');
    const { status = 200, body: json, text } = script(call) ?? usual;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(text ?? JSON.stringify(json));
  };
  const server = pems === null ? createServer(answer) : createSecureServer(pems, answer);
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const uri = pems === null ? `http://127.0.0.1:${port}` : `https://localhost:${port}`;
  const clock = { nowMs: 0 };
  const opened: { close(): void }[] = [];
  const open = (more: Partial<RestChoices> = {}) => {
    const none = { token: null, oauth: null, tls: null, timeout_ms: 5_000 } as const;
    const choices: RestChoices = { ...{ kind: 'rest', uri, warehouse: null, ...none }, ...more };
    const steadyMs = () => clock.nowMs;
    const catalog = openRestCatalog(choices, { steadyMs, random: () => 0, firstPauseMs: 0 });
    opened.push(catalog);
    return catalog;
  };
  const end = async (): Promise<void> => {
    for (const one of opened) one.close();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  };
  return { uri, calls, clock, open, [Symbol.asyncDispose]: end };
};
