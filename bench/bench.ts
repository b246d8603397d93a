// What `npm run bench` runs: all benches, or one. `--json` prints one object a line; everything else goes to
// standard error. README.md quotes nothing but what this prints.
import { parseArgs } from 'node:util';
import { alignTable } from '../src/cli/output.ts';
import { captureHuge, captureSingle, captureThousand, endToEnd } from './capture.ts';
import { encode, parquet } from './codecs.ts';
import { BenchDatabase } from './database.ts';
import { type Bench, KAFKA_BENCHES } from './kafka-benches.ts';
import { latency } from './latency.ts';
import type { Line, Settings } from './measure.ts';
import { merge } from './merge.ts';
import { snapshotToTopic } from './snapshot.ts';
import { TABLE_BENCHES } from './table-benches.ts';

const HELP = `npm run bench -- [--only NAME] [--full] [--reps 3] [--scale 1] [--json]

  --only NAME   one bench (may be said more than once): capture-1000, capture-1, snapshot-topic,
                huge-transaction, latency, end-to-end, merge, encode, parquet; of a table of many rows,
                table-snapshot, table-inserts, table-updates, table-small-commits, table-history,
                table-rivals; and with a broker, which they start: kafka-capture, kafka-snapshot,
                kafka-latency, kafka-producer, kafka-fetch
  --full        larger runs: 10M rows where it matters
  --reps N      repetitions; medians are printed
  --scale X     a part of the rows, such as 0.01, for trying the bench itself: such numbers mean nothing
  --json        one object a line
`;

const BENCHES: ReadonlyMap<string, Bench> = new Map<string, Bench>([
  ['capture-1000', captureThousand],
  ['capture-1', captureSingle],
  ['snapshot-topic', snapshotToTopic],
  ['huge-transaction', captureHuge],
  ['latency', latency],
  ['end-to-end', endToEnd],
  ['merge', merge],
  ['encode', encode],
  ['parquet', parquet],
  ...TABLE_BENCHES,
  ...KAFKA_BENCHES,
]);

const cell = (value: number | string | null | undefined): string =>
  value === null ? '' : String(value ?? '');

const print = (lines: readonly Line[], isJson: boolean): void => {
  if (isJson) {
    for (const line of lines) process.stdout.write(`${JSON.stringify(line)}\n`);
    return;
  }
  const columns = ['name', 'value', 'unit', 'floor', 'ratio', 'CPU-s/M', 'MB', 'target'];
  const rows = lines.map((line) =>
    [
      line.name,
      line.value,
      line.unit,
      line.floor,
      line.ratio,
      line.cpu_s_per_million,
      line.rss_mb,
      line.target,
    ].map(cell),
  );
  process.stdout.write(`${alignTable(columns, rows).join('\n')}\n\n`);
};

const main = async (): Promise<number> => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      full: { type: 'boolean', default: false },
      reps: { type: 'string', default: '3' },
      scale: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const only = values.only ?? [...BENCHES.keys()];
  const [reps, scale] = [Number(values.reps), Number(values.scale)];
  const isClear = only.every((name) => BENCHES.has(name)) && reps >= 1 && scale > 0;
  if (values.help || !isClear) {
    process.stderr.write(HELP);
    return values.help ? 0 : 2;
  }
  const settings: Settings = {
    reps,
    rows: (quick, full) => Math.max(1, Math.round(((values.full ? full : quick) * scale) / 1000)) * 1000,
  };
  await using database = await BenchDatabase.start();
  let code = 0;
  for (const name of only) {
    try {
      print((await BENCHES.get(name)?.(settings, database)) ?? [], values.json);
    } catch (error) {
      // The other benches' numbers are worth having all the same.
      process.stderr.write(`${name} failed: ${error instanceof Error ? error.stack : String(error)}\n`);
      code = 1;
    }
  }
  return code;
};

process.exitCode = await main();
