// Owns the engine's process: takes one operation at a time, asks the main process for what it needs,
// answers. A crash of the engine's native code ends this process and no other.
import { asVarveError, VarveError } from '../../../errors.ts';
import { findDamage } from './damage.ts';
import { runOperation } from './operations.ts';
import type { EngineSettings, FromEngine, Operations, Question, ToEngine, WireError } from './protocol.ts';

type Waiting = { resolve: (text: string) => void; reject: (error: VarveError) => void };
type Run = Extract<ToEngine, { kind: 'run' }>;

const settings = JSON.parse(process.argv[2] ?? '{}') as EngineSettings;
const waiting = new Map<number, Waiting>();
let questions = 0;

const send = (message: FromEngine): void => {
  process.send?.(message);
};

const ask = (question: Question): Promise<string> => {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const number = questions++;
  waiting.set(number, { resolve, reject });
  send({ kind: 'question', question: number, ask: question });
  return promise;
};

/** What no waiting mends. */
const REFUSED = /^IO Error: .*(read-only file system|input\/output error|too many open files)/i;

/** DuckDB's own errors: what they say of rows is left out. */
const engineError = (thrown: unknown): VarveError => {
  if (thrown instanceof VarveError) return thrown;
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (/no space left|ENOSPC/i.test(text))
    return new VarveError(
      'disk_full',
      `The engine's directory ${settings.directory} is full; make room there.`,
    );
  const refused = REFUSED.exec(text)?.[1];
  if (refused !== undefined)
    return new VarveError(
      'store_failed',
      `The engine could not use ${settings.directory}: ${refused}. Check the disk and its permissions.`,
    );
  const named = /^([A-Z][A-Za-z ]* Error): (.*)/.exec(text);
  if (named === null) return asVarveError(thrown);
  const facts = { memory: settings.memoryLimit, threads: settings.threads };
  if (named[1] === 'Out of Memory Error')
    return new VarveError(
      'engine_memory',
      `The table engine ran out of its memory, ${settings.memoryLimit}, with the least that it can take at ` +
        `once: raise table.memory_limit. ${named[2]}`,
      { facts },
    );
  const isSafe = /^(IO|Parser|Binder|Catalog|Internal|Invalid Input)/.test(named[1] ?? '');
  return new VarveError('engine_failed', `The table engine failed: ${isSafe ? named[0] : named[1]}.`, {
    facts,
  });
};

const wireError = (thrown: unknown): WireError => {
  const { kind, message, facts } = engineError(thrown);
  return { kind, message, facts };
};

/** What a damaged file has made the engine say is told as that. */
const run = async (message: Run): Promise<Operations[Run['operation']]['result']> => {
  const asked = new Map<string, string>();
  const askLocal = async (uri: string): Promise<string> => {
    const local = await ask({ kind: 'local', uri });
    asked.set(uri, local);
    return local;
  };
  const askSchema = (id: number): Promise<string> => ask({ kind: 'schema', id });
  try {
    return await runOperation(message, { askLocal, askSchema }, settings);
  } catch (thrown) {
    if (engineError(thrown).kind !== 'engine_failed') throw thrown;
    throw (await findDamage(asked, settings).catch(() => null)) ?? thrown;
  }
};

process.on('message', (message: ToEngine) => {
  if (message.kind === 'run') {
    run(message).then(
      (result) => send({ kind: 'done', id: message.id, result }),
      (thrown: unknown) => send({ kind: 'failed', id: message.id, error: wireError(thrown) }),
    );
    return;
  }
  const waiter = waiting.get(message.question);
  waiting.delete(message.question);
  if (message.kind === 'answer') waiter?.resolve(message.text);
  else {
    const { kind, message: sentence, facts } = message.error;
    waiter?.reject(new VarveError(kind, sentence, { facts }));
  }
});
// Without its parent it has nobody to answer.
process.on('disconnect', () => process.exit(0));
