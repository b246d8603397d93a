// The main job on one machine, told as it happens: a throw-away PostgreSQL with a live shop, captured,
// folded, asked. Without a terminal it ends by itself; with one it stays until Ctrl-C.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres } from '../test/support/postgres.ts';
import { HERO, HERO_LIFE, setUpShop, trade } from './shop.ts';

const WORK_MS = 12_000;
const HERO_EVERY_MS = 3000;
const STEP_MS = 10;

const root = resolve(import.meta.dirname, '..');
const home = join(root, 'var/demo');
const file = join(home, 'pipeline.yaml');
const onTerminal = process.stdout.isTTY === true;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const title = (text: string): void => say(onTerminal ? `\n\u001b[1m${text}\u001b[0m` : `\n${text}`);

const varve = (...words: string[]): string =>
  execFileSync(join(root, 'varve'), words, {
    cwd: home,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment,
  });

const environment: NodeJS.ProcessEnv = { ...process.env };

const PIPELINE = `# yaml-language-server: $schema=./pipeline.schema.json
name: shop
source:
  kind: postgres
  url: \${env:SHOP_URL}
  tables: ["public.*"]
topic:
  kind: embedded
  path: ./topic
table:
  location: ./tables
  commit_interval_ms: 1000
log:
  level: warn
`;

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((done) => (child.exitCode === null ? child.once('exit', done) : done(child.exitCode)));

const show = (command: string): string => {
  say(`$ ./varve ${command}`);
  const shown = varve(...command.split(' '));
  say(shown.trimEnd());
  return shown;
};

const work = async (
  client: Awaited<ReturnType<Awaited<ReturnType<typeof startPostgres>>['connect']>>,
  stop: AbortSignal,
): Promise<number> => {
  const started = Date.now();
  let told = 0;
  let step = 1;
  for (; !stop.aborted && (onTerminal || Date.now() - started < WORK_MS); step++) {
    await trade(client, step);
    const deed = HERO_LIFE[told];
    if (deed !== undefined && Date.now() - started > (told + 1) * HERO_EVERY_MS) {
      await client.query(deed);
      say(`  ${deed}`);
      told++;
    }
    await sleep(STEP_MS);
  }
  return step;
};

type Product = { id: number; title: string; price: string; stock: number };

/** What differs between two as-of answers, by key. */
const tellDiff = (from: string, to: string): void => {
  const read = (text: string): Map<number, Product> => {
    const products = text
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Product);
    return new Map(products.map((product) => [product.id, product]));
  };
  const [before, after] = [read(from), read(to)];
  const changed = [...after.values()].filter(({ id, price, stock }) => {
    const old = before.get(id);
    return old !== undefined && (old.price !== price || old.stock !== stock);
  });
  const added = [...after.keys()].filter((id) => !before.has(id)).length;
  const removed = [...before.keys()].filter((id) => !after.has(id)).length;
  say(`  ${added} added, ${changed.length} changed, ${removed} removed; for example`);
  for (const { id, title, price, stock } of changed.slice(0, 3)) {
    const old = before.get(id);
    say(`  ${title.padEnd(10)}  price ${old?.price} -> ${price}, stock ${old?.stock} -> ${stock}`);
  }
};

/** The newest metadata file, as a reader would look it up. */
const newestMetadata = (table: string): string => {
  const versions = readdirSync(join(table, 'metadata')).flatMap(
    (name) => /^v(\d+)\.metadata\.json$/.exec(name)?.[1] ?? [],
  );
  return join(table, `metadata/v${Math.max(...versions.map(Number))}.metadata.json`);
};

const main = async (): Promise<void> => {
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  title('A PostgreSQL for the demo');
  await using server = await startPostgres({ major: 17 });
  environment.SHOP_URL = server.url;
  const client = await server.connect();
  await setUpShop(client);
  say(`  PostgreSQL ${server.major} on port ${server.port}: 500 customers, 50 products, no orders yet`);
  writeFileSync(file, PIPELINE);
  writeFileSync(join(home, 'pipeline.schema.json'), varve('schema'));

  title('Is everything ready?');
  show('check pipeline.yaml');

  title(`The daemon runs, the shop trades${onTerminal ? ' until Ctrl-C' : ''}`);
  const daemon = spawn(join(root, 'varve'), ['run', 'pipeline.yaml'], {
    cwd: home,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: environment,
    detached: true,
  });
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort()).once('SIGTERM', () => stop.abort());
  void ended(daemon).then(() => stop.abort());
  const early = new Date(Date.now() + 2000).toISOString();
  const steps = await work(client, stop.signal);
  say(`  ${steps} transactions traded`);
  daemon.kill('SIGTERM');
  const code = await ended(daemon);
  if (code !== 0) throw new Error(`the daemon ended with ${code}`);

  title('Whatever is left, and what there is now');
  show('run pipeline.yaml --until-caught-up');
  show('status pipeline.yaml');

  title(`Customer ${HERO}, version by version`);
  show(`history pipeline.yaml customers ${HERO}`);

  title(`The same customer as of ${early}`);
  show(`asof pipeline.yaml customers --at ${early} --where id=${HERO}`);

  title('Products then and now');
  tellDiff(
    varve('asof', 'pipeline.yaml', 'products', '--at', early, '--json'),
    varve('asof', 'pipeline.yaml', 'products', '--json'),
  );

  const table = join(home, 'tables/public/customers');
  title('The table is plain Iceberg over Parquet');
  say(`  ${table}
  DuckDB:    install iceberg; load iceberg; select * from iceberg_scan('${table}') where is_current;
  PyIceberg: StaticTable.from_metadata('file://${newestMetadata(table)}').scan().to_arrow()`);
};

await main();
