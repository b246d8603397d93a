// Owns the benches of single steps: rows to Avro, and rows to Parquet, each beside a library that does the
// same.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EncodeRequest } from './encode-loop.ts';
import { type Contender, type Line, makeLine, runInTurn, runScript, type Settings } from './measure.ts';
import type { ParquetRequest } from './parquet-loop.ts';

const contender = (script: string, request: EncodeRequest | ParquetRequest): Contender => ({
  name: request.library,
  run: async () => {
    const { answer, cpuSeconds, peakMb } = await runScript<{ seconds: number }>(script, request);
    return { value: request.rows / answer.seconds, cpuSeconds, peakMb };
  },
});

type Step = { name: string; rows: number; other: string; contenders: readonly Contender[] };

const compare = async (settings: Settings, { name, rows, other, contenders }: Step): Promise<Line[]> => {
  const results = await runInTurn(name, contenders, settings);
  const floor = results.get(other)?.value;
  return [...results].map(([library, sample]) =>
    library === 'varve'
      ? makeLine({ name, unit: 'rows/s', sample, rows, floor })
      : makeLine({ name: `${name}/${library}`, unit: 'rows/s', sample, rows }),
  );
};

/** Whole envelopes: Varve from the log's text to records, avsc from ready objects to values only. */
export const encode = (settings: Settings): Promise<Line[]> => {
  const rows = settings.rows(3_000_000, 3_000_000);
  const contenders = (['varve', 'avsc'] as const).map((library) =>
    contender('encode-loop.ts', { library, rows }),
  );
  return compare(settings, { name: 'encode', rows, other: 'avsc', contenders });
};

/** The floor is a peer here: what somebody would take who wants no native code. */
export const parquet = async (settings: Settings): Promise<Line[]> => {
  const rows = settings.rows(300_000, 1_000_000);
  const directory = await mkdtemp(join(tmpdir(), 'varve-bench-'));
  try {
    const contenders = (['varve', 'parquetjs-lite'] as const).map((library) =>
      contender('parquet-loop.ts', { library, rows, directory }),
    );
    return await compare(settings, { name: 'parquet', rows, other: 'parquetjs-lite', contenders });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};
