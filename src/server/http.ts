// Owns the small HTTP listener: health, readiness, metrics, status, the catalog of the tables. Reads only; no
// row, no secret. Loopback only.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { asVarveError, VarveError } from '../errors.ts';
import type { PipelineParts } from '../pipeline-parts.ts';
import { makeScrub } from '../secrets.ts';
import { pipelineStatus } from '../status.ts';
import type { Telemetry } from '../telemetry.ts';
import { makeCatalog } from './catalog.ts';
import { clientDefaults, openCatalogTables } from './catalog-tables.ts';
import { measure } from './gauges.ts';

type ListenOptions = { parts: PipelineParts; telemetry: Telemetry; version: string };
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Listener = { port: number; close(): Promise<void> };

const sendJson = (response: ServerResponse, code: number, body: object): void => {
  response.writeHead(code, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
};

/** What is durable, and what this process knows better: where it stands. */
const statusBody = async (
  { config, feed, nowMs, progress }: PipelineParts,
  version: string,
): Promise<object> => ({
  ...(await pipelineStatus(config, feed, nowMs())),
  ...progress.standing,
  sentence: makeScrub(config.secrets)(progress.standing.sentence ?? '') || null,
  pid: process.pid,
  version,
});

type AskCatalog = (request: IncomingMessage, response: ServerResponse) => void;

/** Answers what Iceberg's clients ask below `/v1/`. */
const catalogOf = (parts: PipelineParts): AskCatalog => {
  const { name, secrets, table } = parts.config;
  const ask = makeCatalog({
    warehouse: name,
    tables: openCatalogTables(parts),
    defaults: clientDefaults(table ?? null),
    scrub: makeScrub(secrets),
  });
  return ({ method = '', url = '', headers }, response) =>
    void ask({ method, url, ifNoneMatch: headers['if-none-match'] }).then(({ code, headers: more, body }) => {
      const type = body === null ? {} : { 'content-type': 'application/json' };
      response.writeHead(code, { ...type, ...more }).end(body ?? undefined);
    });
};

/** Throws `usage` when the address is taken. */
export const listen = async (
  address: string,
  { parts, telemetry, version }: ListenOptions,
): Promise<Listener> => {
  const { progress } = parts;
  const askCatalog = catalogOf(parts);
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5000 }, (request, response) => {
    if (request.url?.startsWith('/v1/')) return askCatalog(request, response);
    if (request.method !== 'GET') {
      response.setHeader('allow', 'GET');
      return sendJson(response, 405, { error: 'only GET is answered here' });
    }
    const { state, reason } = progress.standing;
    switch (request.url?.replace(/\?.*/, '')) {
      case '/healthz':
        return sendJson(response, state === 'failed' ? 503 : 200, { state, reason });
      case '/readyz':
        return sendJson(response, state === 'streaming' ? 200 : 503, { state, reason });
      case '/metrics':
        return void measure(parts, telemetry, version).then(
          () => response.writeHead(200, { 'content-type': METRICS_TYPE }).end(telemetry.render()),
          (thrown: unknown) => sendJson(response, 500, { error: asVarveError(thrown).kind }),
        );
      case '/status':
        return void statusBody(parts, version).then(
          (body) => sendJson(response, 200, body),
          (thrown: unknown) => sendJson(response, 500, { error: asVarveError(thrown).kind }),
        );
      default:
        return sendJson(response, 404, {
          error: 'here are /healthz, /readyz, /metrics, /status and /v1/config',
        });
    }
  });
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: Error): void =>
      reject(
        new VarveError('usage', `http.listen ${address}: ${cause.message}. Choose another port.`, { cause }),
      );
    server.once('error', refuse).listen(Number(address.slice(colon + 1)), host, () => resolve());
  });
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
