// A real S3 server for tests, versitygw, with one bucket of its own; gone when the test process is gone. Its
// objects are plain files in a folder. Knows no table.
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Choices } from '../../src/sinks/parquet/s3-place.ts';
import { S3Store } from '../../src/sinks/parquet/store-s3.ts';
import { ran } from './components.ts';
import { JavaProcess, startWatchdog } from './java-process.ts';
import { pickPort } from './postgres-process.ts';
import { ensureS3, S3_VERSION } from './s3-install.ts';

export const S3_USER = { key: 'varve-access', secret: 'varve-secret-key' } as const;

export type TestS3 = {
  readonly port: number;
  readonly endpoint: string;
  readonly bucket: string;
  /** What a process needs to be let in. */
  readonly environment: Readonly<Record<string, string>>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export const S3_ENVIRONMENT: Readonly<Record<string, string>> = {
  AWS_ACCESS_KEY_ID: S3_USER.key,
  AWS_SECRET_ACCESS_KEY: S3_USER.secret,
  AWS_REGION: 'us-east-1',
};

export type S3Knobs = Partial<ConstructorParameters<typeof S3Store>[1]> & {
  s3: S3Choices;
  copies: string | null;
};

/** As the product opens it, but for what the test sets. */
export const openTestStore = (root: string, knobs: S3Knobs): S3Store =>
  new S3Store(root, { steadyMs: () => performance.now(), random: Math.random, ...knobs });

/** Starts one of its own (0.2 s; builds the server when it is missing). */
export const startS3 = async (): Promise<TestS3> => {
  const program = await ensureS3();
  const root = await mkdtemp(join(tmpdir(), 'varve-s3-'));
  const watchdog = startWatchdog(root);
  const bucket = 'lake';
  for (let attempt = 1; ; attempt++) {
    const folder = join(root, `server-${attempt}`);
    await mkdir(join(folder, 'data', bucket), { recursive: true });
    const port = await pickPort();
    const keys = ['--access', S3_USER.key, '--secret', S3_USER.secret];
    const place = ['--port', `127.0.0.1:${port}`, '--region', 'us-east-1'];
    const server = new JavaProcess(folder, {
      name: 'versitygw',
      java: program,
      args: [...keys, ...place, 'posix', join(folder, 'data')],
      started: `:${port}`,
    });
    try {
      await server.start();
    } catch (error) {
      // Another test may take a port between the pick and the bind.
      if (attempt < 3 && /already in use/.test(String(error))) continue;
      await watchdog.end();
      throw error;
    }
    ran('s3', `versitygw ${S3_VERSION}`);
    return {
      port,
      endpoint: `http://127.0.0.1:${port}`,
      bucket,
      environment: S3_ENVIRONMENT,
      stop: () => server.end('SIGTERM'),
      restart: () => server.start(),
      [Symbol.asyncDispose]: async () => {
        await server.end('SIGKILL');
        await watchdog.end();
      },
    };
  }
};
