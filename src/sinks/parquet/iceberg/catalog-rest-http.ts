// Owns single requests over HTTP to a REST catalog and to who issues its tokens: time, size, TLS, and texts
// back. Knows neither catalog nor token, and tries nothing twice.
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { explainSilence, type Question, unreachable, wrongAnswer } from './catalog-rest-failure.ts';

export type TlsChoices = {
  ca: string | null;
  cert: string | null;
  key: string | null;
  passphrase: string | null;
  verify: 'full' | 'none';
};

type HttpRequest = {
  method: 'GET' | 'POST';
  url: string;
  headers: Readonly<Record<string, string>>;
  body?: string | undefined;
  question: Question;
};

type HttpAnswer = { status: number; text: string };

/** A table's metadata names each of its snapshots; one of a million has none of these. */
const MAX_ANSWER_BYTES = 256 << 20;

export class HttpLine {
  readonly #http = new Agent({ keepAlive: true });
  readonly #https: HttpsAgent;
  readonly #timeoutMs: number;

  constructor({ tls, timeoutMs }: { tls: TlsChoices | null; timeoutMs: number }) {
    const { ca, cert, key, passphrase } = tls ?? { ca: null, cert: null, key: null, passphrase: null };
    this.#https = new HttpsAgent({
      keepAlive: true,
      rejectUnauthorized: tls?.verify !== 'none',
      ...(ca === null ? {} : { ca }),
      ...(cert === null ? {} : { cert }),
      ...(key === null ? {} : { key }),
      ...(passphrase === null ? {} : { passphrase }),
    });
    this.#timeoutMs = timeoutMs;
  }

  /**
   * The whole answer, whatever its status. Throws catalog_unreachable: nobody knows whether it was done;
   * catalog_denied: nobody was asked.
   */
  async send({ method, url, headers, body, question }: HttpRequest): Promise<HttpAnswer> {
    const isSecure = url.startsWith('https:');
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const common = { method, headers: { accept: 'application/json', ...headers }, signal };
    try {
      const sent = isSecure
        ? httpsRequest(url, { ...common, agent: this.#https }, resolve)
        : httpRequest(url, { ...common, agent: this.#http }, resolve);
      sent.on('error', reject);
      sent.end(body);
      const answer = await promise;
      return { status: answer.statusCode ?? 0, text: await this.#read(answer, question) };
    } catch (thrown) {
      if (signal.aborted) throw unreachable(`nothing within ${this.#timeoutMs} ms`, question);
      if (thrown instanceof Error && 'kind' in thrown) throw thrown;
      throw explainSilence((thrown as { code?: string }).code ?? '', question);
    }
  }

  async #read(answer: IncomingMessage, question: Question): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of answer) {
      bytes += (chunk as Buffer).length;
      if (bytes > MAX_ANSWER_BYTES) throw wrongAnswer('sends more than 256 MB', question);
      chunks.push(chunk as Buffer);
    }
    return Buffer.concat(chunks).toString();
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}
