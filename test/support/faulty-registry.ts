// A schema registry that fails on demand: the few questions that Varve asks, answered from memory unless a
// fault answers first. For what a real one cannot be made to show.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';

type Asked = { readonly method: string; readonly path: string; readonly authorization: string | undefined };
type Said = { readonly status: number; readonly body: unknown };
/**
 * An answer in place of the right one; `hang`: none ever; `drip`: one that never ends; null: the right one.
 */
type Fault = (asked: Asked) => Said | 'hang' | 'drip' | null;

export class FaultyRegistry implements AsyncDisposable {
  readonly asked: Asked[] = [];
  fault: Fault = () => null;
  readonly #server: Server;
  readonly #texts: string[] = [];
  readonly #subjects = new Map<string, Set<number>>();
  readonly #levels = new Map<string, string>();

  private constructor(tls: ServerOptions | undefined) {
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#serve(request, response);
    this.#server = tls ? createTlsServer(tls, listener) : createServer(listener);
  }

  static async start(options: { tls?: ServerOptions; port?: number } = {}): Promise<FaultyRegistry> {
    const registry = new FaultyRegistry(options.tls);
    await new Promise<void>((resolve) => registry.#server.listen(options.port ?? 0, '127.0.0.1', resolve));
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get levels(): ReadonlyMap<string, string> {
    return this.#levels;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const { method = '', headers } = request;
    const path = decodeURIComponent((request.url ?? '').replace(/\?.*$/, ''));
    const asked = { method, path, authorization: headers.authorization };
    this.asked.push(asked);
    const said = this.fault(asked) ?? this.#answer(asked, text === '' ? {} : JSON.parse(text));
    if (said === 'hang') return;
    response.writeHead(said === 'drip' ? 200 : said.status, { 'content-type': 'application/json' });
    if (said === 'drip') {
      const timer = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(timer));
      return;
    }
    response.end(typeof said.body === 'string' ? said.body : JSON.stringify(said.body));
  }

  #answer({ method, path }: Asked, sent: { schema?: string; compatibility?: string }): Said {
    const [room, subject = '', rest] = path.slice(1).split('/');
    if (room === 'config') {
      if (method === 'PUT') this.#levels.set(subject, sent.compatibility ?? '');
      const level = subject === '' ? 'BACKWARD' : this.#levels.get(subject);
      if (level === undefined) return absent(40408, 'no level of its own');
      return { status: 200, body: { compatibilityLevel: level, compatibility: level } };
    }
    if (room === 'schemas') {
      const schema = this.#texts[Number(rest) - 1];
      return schema === undefined ? absent(40403, 'Schema not found') : { status: 200, body: { schema } };
    }
    const ids = this.#subjects.get(subject);
    const text = sent.schema ?? '';
    const id = this.#texts.indexOf(text) + 1;
    if (rest === undefined) {
      if (ids === undefined) return absent(40401, 'Subject not found');
      return ids.has(id) ? { status: 200, body: { id, schema: text } } : absent(40403, 'Schema not found');
    }
    const own = id === 0 ? this.#texts.push(text) : id;
    this.#subjects.set(subject, new Set([...(ids ?? []), own]));
    return { status: 200, body: { id: own } };
  }
}

const absent = (error_code: number, message: string): Said => ({
  status: 404,
  body: { error_code, message },
});
