// Owns a seeded workload on the oracle's table: every kind of change that a table can see, several sessions
// at once.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';

/** mulberry32: small, seeded, the same everywhere. */
export const seededRandom = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};

type WorkloadOptions = {
  seed: number;
  keys: number;
  truncates: boolean;
  keyChanges: boolean;
  pauseMs?: number;
};

const statement = (random: () => number, { keys, keyChanges }: WorkloadOptions): string => {
  const id = 1 + Math.floor(random() * keys);
  const value = Math.floor(random() * 1000);
  const kind = random();
  if (kind < 0.35) {
    const big = random() < 0.15 ? `repeat('${value}', 4000)` : `'small ${value}'`;
    return (
      'insert into ledger values ' +
      `(${id}, ${value}, 'name ${value}', ${value % 2 === 0}, ${value}.25, ` +
      `${value} / 7.0, now(), current_date, ${big}) ` +
      'on conflict (id) do update set n = excluded.n, amount = excluded.amount'
    );
  }
  if (kind < 0.7) return `update ledger set n = ${value}, score = ${value} / 3.0 where id = ${id}`;
  if (kind < 0.75) return `update ledger set n = n where id = ${id}`;
  if (kind < 0.8) return `update ledger set name = null, flag = null where id between ${id} and ${id + 5}`;
  if (kind < 0.85 && keyChanges) {
    const moved = keys + id;
    return `update ledger set id = ${moved} where id = ${id}
      and not exists (select from ledger where id = ${moved})`;
  }
  if (kind < 0.9) return `update ledger set big = 'now ${value}' where id = ${id}`;
  return `delete from ledger where id = ${id}`;
};

/**
 * One transaction of one to six statements, sometimes with a savepoint rolled back, sometimes rolled back
 * itself.
 */
const transact = async (client: Client, random: () => number, options: WorkloadOptions): Promise<void> => {
  if (options.truncates && random() < 0.004) {
    await client.query('truncate ledger');
    return;
  }
  await client.query('begin');
  const count = 1 + Math.floor(random() * 6);
  for (let at = 0; at < count; at++) {
    const undone = random() < 0.1;
    if (undone) await client.query('savepoint s');
    await client.query(statement(random, options));
    if (undone) await client.query('rollback to savepoint s');
  }
  await client.query(random() < 0.05 ? 'rollback' : 'commit');
};

/** Deadlocks and serialisation failures are the workload's own business. */
const isOwnBusiness = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && ['40P01', '40001', '23505'].includes(String(thrown.code));

/** Runs transactions on each client until `stop`; returns how many committed or rolled back. */
export const runWorkload = async (
  clients: readonly Client[],
  options: WorkloadOptions,
  stop: AbortSignal | number,
): Promise<number> => {
  let total = 0;
  await Promise.all(
    clients.map(async (client, at) => {
      const random = seededRandom(options.seed * 1000 + at);
      for (let done = 0; typeof stop === 'number' ? done < stop : !stop.aborted; done++, total++) {
        await transact(client, random, options).catch(async (thrown: unknown) => {
          await client.query('rollback');
          if (!isOwnBusiness(thrown)) throw thrown;
        });
        if (options.pauseMs !== undefined) await sleep(options.pauseMs);
      }
    }),
  );
  return total;
};
