// Owns the source's own account of what it committed, for comparing with topics: the ledger's audit, and that
// of two tables more, one of them without a key. Knows no topic.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { canonicalImage, type Image, installOracle } from './oracle.ts';
import type { SourceChange, SourceTransaction } from './topic-rows.ts';
import { seededRandom } from './workload.ts';

/** Columns are named in the order of their letters, so that a row as JSON has them in that order. */
const TABLES = `
  create table public.pairs (a int, b int, c text, primary key (a, b));
  create table public.notes (a int, b text);
  alter table public.notes replica identity full;
  create table oracle.more (
    seq bigint primary key default nextval('oracle.audit_seq_seq'), tx text not null, tbl text not null,
    op text not null, old text[], new text[]);
  create function oracle.texts(r jsonb) returns text[] language sql immutable as $$
    select array(select value from jsonb_each_text(r)) $$;
  create function oracle.note_more() returns trigger language plpgsql security definer as $$ begin
    insert into oracle.more (tx, tbl, op, old, new) values (pg_current_xact_id()::text, tg_table_name, tg_op,
      case when tg_op in ('UPDATE','DELETE') then oracle.texts(to_jsonb(old)) end,
      case when tg_op in ('UPDATE','INSERT') then oracle.texts(to_jsonb(new)) end);
    return null; end $$;
  create trigger note after insert or update or delete on public.pairs
    for each row execute function oracle.note_more();
  create trigger note after insert or update or delete on public.notes
    for each row execute function oracle.note_more();
  create trigger note_truncate after truncate on public.pairs
    for each statement execute function oracle.note_more();
  create trigger note_truncate after truncate on public.notes
    for each statement execute function oracle.note_more();
`;

export const installTopicOracle = async (client: Client): Promise<void> => {
  await installOracle(client);
  await client.query(TABLES);
};

const OPS = { INSERT: 'c', UPDATE: 'u', DELETE: 'd', TRUNCATE: 't' } as const;

type Audited = {
  seq: string;
  tx: string;
  tbl: string;
  op: keyof typeof OPS;
  old: Image | null;
  new: Image | null;
};

/** Columns of the key. */
const KEYS: Readonly<Record<string, number>> = { ledger: 1, pairs: 2, notes: 0 };

/** Tables that have an audit. */
export const AUDITED: readonly string[] = Object.keys(KEYS).map((table) => `public.${table}`);

const keyOf = (table: string, image: Image | null): string | null => {
  const columns = KEYS[table] ?? 0;
  return image === null || columns === 0 ? null : image.slice(0, columns).join('|');
};

/** One audit row; a changed key is a delete and a create. */
const changesOf = ({ seq: text, tbl, op, old, new: row }: Audited): SourceChange[] => {
  const seq = BigInt(text);
  const table = `public.${tbl}`;
  if (op === 'TRUNCATE') return [{ seq, table, op: 't', key: null, before: null, after: null }];
  const [oldKey, newKey] = [keyOf(tbl, old), keyOf(tbl, row)];
  const deleted: SourceChange = {
    seq,
    table,
    op: 'd',
    key: oldKey,
    before: oldKey === null ? old : null,
    after: null,
  };
  if (op === 'DELETE') return [deleted];
  const written: SourceChange = {
    seq,
    table,
    op: OPS[op],
    key: newKey,
    before: newKey === null ? old : null,
    after: tbl === 'ledger' && row !== null ? canonicalImage(row) : row,
  };
  return op === 'UPDATE' && oldKey !== newKey ? [deleted, { ...written, op: 'c' }] : [written];
};

/** Every transaction that was committed since the oracle was installed, its changes in their order. */
export const readSource = async (client: Client): Promise<SourceTransaction[]> => {
  const { rows } = await client.query<Audited>(
    `select seq::text, tx, 'ledger' as tbl, op, array[old_id::text] as old, image as new from oracle.audit
     union all select seq::text, tx, tbl, op, old, new from oracle.more`,
  );
  rows.sort((a, b) => Number(BigInt(a.seq) - BigInt(b.seq)));
  const byTx = Map.groupBy(rows, ({ tx }) => tx);
  return [...byTx].map(([tx, audited]) => ({ tx, changes: audited.flatMap(changesOf) }));
};

/** The newest audit row of all tables: what comes later is after this moment. */
export const sourceMoment = async (client: Client): Promise<bigint> => {
  const { rows } = await client.query<{ seq: string }>(
    `select greatest((select coalesce(max(seq), 0) from oracle.audit),
       (select coalesce(max(seq), 0) from oracle.more))::text as seq`,
  );
  return BigInt(rows[0]?.seq ?? 0);
};

const mixed = (random: () => number): string => {
  const number = (most: number): number => Math.floor(random() * most);
  const [a, b, kind] = [number(6), number(6), random()];
  if (kind < 0.3)
    return `insert into pairs values (${a}, ${b}, 'new ${number(1000)}')
      on conflict (a, b) do update set c = excluded.c`;
  if (kind < 0.4) return `update pairs set c = c || '.' where a = ${a}`;
  if (kind < 0.5)
    return `update pairs set b = b + 6 where a = ${a} and b = ${b}
      and not exists (select from pairs where a = ${a} and b = ${b + 6})`;
  if (kind < 0.6) return `delete from pairs where a = ${a} and b in (${b}, ${b + 6})`;
  if (kind < 0.75) return `insert into notes select ${a}, 'note ' || g from generate_series(1, ${1 + b}) g`;
  if (kind < 0.85)
    return `update notes set b = 'changed ${number(9)}' where ctid in (select ctid from notes limit 2)`;
  if (kind < 0.95) return `delete from notes where ctid in (select ctid from notes where a = ${a} limit 3)`;
  return `update ledger set n = ${number(1000)} where id between ${a} and ${a + 2}`;
};

/** Transactions over all tables until `stop`; truncates now and then. */
export const runMixed = async (client: Client, seed: number, stop: AbortSignal | number): Promise<void> => {
  const random = seededRandom(seed);
  for (let done = 0; typeof stop === 'number' ? done < stop : !stop.aborted; done++) {
    const count = random() < 0.02 ? 0 : 1 + Math.floor(random() * 5);
    try {
      await client.query('begin');
      if (count === 0) await client.query(random() < 0.5 ? 'truncate notes' : 'truncate pairs, notes');
      for (let at = 0; at < count; at++) await client.query(mixed(random));
      await client.query(random() < 0.05 ? 'rollback' : 'commit');
    } catch (thrown) {
      await client.query('rollback');
      // Deadlocks and keys that another transaction has just made are the workload's own business.
      const isOwn =
        thrown instanceof Error && 'code' in thrown && ['40P01', '23505'].includes(String(thrown.code));
      if (!isOwn) throw thrown;
    }
    await sleep(10);
  }
};
