// The S3 server of the tests, versitygw: built once per machine, by Go, into the cache folder, because no
// registry carries it as a program. Starts nothing.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeOnce } from './make-once.ts';
import { cacheFolder } from './maven.ts';

const run = promisify(execFile);

export const S3_VERSION = '1.8.0';

const MODULE = `github.com/versity/versitygw/cmd/versitygw@v${S3_VERSION}`;

/** Path of the server's program; built (4 minutes, 61 MB) if it is missing. */
export const ensureS3 = async (): Promise<string> => {
  const folder = await makeOnce(join(cacheFolder, `versitygw-${S3_VERSION}`), async (draft) => {
    const bin = join(draft, 'bin');
    try {
      await run('go', ['install', MODULE], {
        env: { ...process.env, CGO_ENABLED: '0', GOBIN: bin, GOFLAGS: '-buildvcs=false' },
        maxBuffer: 64 << 20,
      });
    } catch (cause) {
      const sentence = `The tests' S3 server is built by "go install ${MODULE}": it needs Go 1.24 or newer.`;
      throw new Error(`${sentence}\n${(cause as { stderr?: string }).stderr ?? cause}`, { cause });
    }
    return bin;
  });
  return join(folder, 'versitygw');
};
