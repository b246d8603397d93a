// Owns the differential oracle: triggers in the source write every row version into an audit table, from
// which follows, with no help of Varve's code, which versions its table must hold.
import assert from 'node:assert/strict';
import type { Client } from 'pg';

/** Columns of the oracle's table; `id` is the key. Every value is compared as canonical text. */
const TABLE = `
  create schema oracle;
  create table public.ledger (
    id bigint primary key, n int, name text, flag boolean, amount numeric(12,2), score float8,
    at timestamptz, day date, big text);
  alter table public.ledger alter big set storage external;
  create table oracle.audit (
    seq bigserial primary key, tx text not null, op text not null,
    old_id bigint, id bigint, image text[]);
  create function oracle.image(r public.ledger) returns text[] language sql immutable as $$
    select array[r.id::text, r.n::text, r.name, r.flag::text, r.amount::text, r.score::text,
      to_char(r.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), r.day::text, md5(r.big)] $$;
  create function oracle.note() returns trigger language plpgsql security definer as $$ begin
    insert into oracle.audit (tx, op, old_id, id, image) values (pg_current_xact_id()::text, tg_op,
      case when tg_op in ('UPDATE','DELETE') then old.id end,
      case when tg_op in ('UPDATE','INSERT') then new.id end,
      case when tg_op in ('UPDATE','INSERT') then oracle.image(new) end);
    return null; end $$;
  create function oracle.note_truncate() returns trigger language plpgsql security definer as $$ begin
    insert into oracle.audit (tx, op) values (pg_current_xact_id()::text, tg_op); return null; end $$;
  create trigger note after insert or update or delete on public.ledger
    for each row execute function oracle.note();
  create trigger note_truncate after truncate on public.ledger
    for each statement execute function oracle.note_truncate();
`;

/** Names of the compared columns, in the order of an image. */
export const LEDGER_COLUMNS = ['id', 'n', 'name', 'flag', 'amount', 'score', 'at', 'day', 'big'] as const;

export type Image = readonly (string | null)[];
/** One expected or found version: its image, and what ended it (null: still current). */
type OracleVersion = { image: Image; closedBy: string | null };
export type FoundVersion = OracleVersion & { op: string };

/** Engines print the same double differently: 171, 171.0. */
export const canonicalImage = (image: Image): Image =>
  image.map((value, at) =>
    LEDGER_COLUMNS[at] === 'score' && value !== null ? String(Number(value)) : value,
  );

export const installOracle = async (client: Client): Promise<void> => {
  await client.query(TABLE);
};

type AuditRow = {
  seq: string;
  tx: string;
  op: string;
  old_id: string | null;
  id: string | null;
  image: Image | null;
};

const sameImage = (a: Image, b: Image): boolean => a.every((value, at) => value === b[at]);

/**
 * Per key, the versions that were visible to other transactions, in order: rows of one transaction collapse.
 */
const versionsFromAudit = (audit: readonly AuditRow[]): Map<string, OracleVersion[]> => {
  // Per key: what each transaction left behind. `image` null: it left no row, for the reason in `closedBy`.
  type Step = { tx: string; image: Image | null; closedBy: string };
  const steps = new Map<string, Step[]>();
  const put = (id: string, step: Step): void => {
    const list = steps.get(id) ?? [];
    if (list.at(-1)?.tx === step.tx) list.pop();
    list.push(step);
    steps.set(id, list);
  };
  for (const { tx, op, old_id, id, image: raw } of audit) {
    const image = raw === null ? null : canonicalImage(raw);
    if (op === 'TRUNCATE') for (const key of steps.keys()) put(key, { tx, image: null, closedBy: 't' });
    else if (op === 'DELETE') put(String(old_id), { tx, image: null, closedBy: 'd' });
    else {
      if (op === 'UPDATE' && old_id !== id) put(String(old_id), { tx, image: null, closedBy: 'k' });
      put(String(id), { tx, image, closedBy: 'u' });
    }
  }
  const result = new Map<string, OracleVersion[]>();
  for (const [id, list] of steps) {
    const versions: OracleVersion[] = [];
    for (const { image, closedBy } of list) {
      const open = versions.at(-1)?.closedBy === null ? versions.at(-1) : undefined;
      if (image !== null && open !== undefined && sameImage(open.image, image)) continue;
      if (open !== undefined) open.closedBy = closedBy;
      if (image !== null) versions.push({ image, closedBy: null });
    }
    result.set(id, versions);
  }
  return result;
};

export type OracleAnswer = {
  /** Every version since the oracle was installed, by key. */
  versions: Map<string, OracleVersion[]>;
  /** Rows of the source now, by key. */
  current: Map<string, Image>;
  /** The audit row that a key occurs in first. */
  firstSeen: Map<string, bigint>;
};

export const askOracle = async (client: Client): Promise<OracleAnswer> => {
  const audit = await client.query<AuditRow>(
    'select a.seq::text, tx, op, old_id::text, id::text, image from oracle.audit a order by a.seq',
  );
  const rows = await client.query<{ image: Image }>('select oracle.image(l) as image from public.ledger l');
  const current = new Map(rows.rows.map(({ image }) => [String(image[0]), canonicalImage(image)]));
  const firstSeen = new Map<string, bigint>();
  for (const { seq, id } of audit.rows) if (id !== null && !firstSeen.has(id)) firstSeen.set(id, BigInt(seq));
  return { versions: versionsFromAudit(audit.rows), current, firstSeen };
};

/**
 * What ended before the first snapshot is not known; from there on the found versions are the expected ones,
 * one for one. With `holes` a start was interrupted: before a row of a later snapshot (`r`) versions may be
 * missing, and the one before the hole, or a last one that a later snapshot no longer saw, was closed by what
 * the snapshot found.
 */
const sameHistory = (
  expected: readonly OracleVersion[],
  found: readonly FoundVersion[],
  holes: boolean,
): boolean => {
  const matches = (at: number, from: number): boolean => {
    const version = found[at];
    if (version === undefined) return from === expected.length || (holes && found.at(-1)?.closedBy === 's');
    const mayStart = at === 0 && (version.op === 'r' || from === 0 || expected[from - 1]?.closedBy !== 'u');
    const wanted = expected[from];
    if (wanted === undefined) return false;
    const isSame = sameImage(wanted.image, version.image) && (at > 0 || mayStart);
    const next = found[at + 1];
    const maySkipAfter = holes && (next?.op === 'r' || version.closedBy === 's');
    if (isSame && wanted.closedBy === version.closedBy && matches(at + 1, from + 1)) return true;
    if (isSame && maySkipAfter) {
      for (let skipTo = from + 1; skipTo <= expected.length; skipTo++)
        if (matches(at + 1, skipTo)) return true;
    }
    return at === 0 && matches(at, from + 1);
  };
  return found.length === 0 ? expected.every(({ closedBy }) => closedBy !== null) : matches(0, 0);
};

const show = (versions: readonly OracleVersion[]): string =>
  versions.map(({ image, closedBy }) => `  ${image.join('|')} ${closedBy ?? 'open'}`).join('\n');

type Comparison = {
  /** Keys first seen after this audit row are known whole. */
  since: bigint;
  /** A start was interrupted, so that snapshots of several epochs follow each other. */
  holes?: boolean;
};

/** `found`: per key, the table's versions in their order. */
export const compareWithOracle = (
  answer: OracleAnswer,
  found: ReadonlyMap<string, readonly FoundVersion[]>,
  { since, holes = false }: Comparison,
): void => {
  for (const [id, image] of answer.current) {
    const open = found.get(id)?.filter(({ closedBy }) => closedBy === null) ?? [];
    assert.equal(open.length, 1, `key ${id} has ${open.length} current rows, not one`);
    assert.deepEqual(open[0]?.image, image, `key ${id}: the current row differs from the source`);
  }
  for (const [id, versions] of found) {
    const expected = answer.versions.get(id) ?? [];
    if (!answer.current.has(id))
      assert.ok(
        versions.every(({ closedBy }) => closedBy !== null),
        `key ${id} is gone but current`,
      );
    const isWhole = (answer.firstSeen.get(id) ?? 0n) > since;
    assert.ok(
      sameHistory(expected, versions, holes && !isWhole),
      `key ${id}:\nexpected\n${show(expected)}\nfound\n${show(versions)}`,
    );
  }
  for (const [id, versions] of answer.versions) {
    if ((answer.firstSeen.get(id) ?? 0n) <= since) continue;
    assert.equal(
      found.get(id)?.length ?? 0,
      versions.length,
      `key ${id}: versions are missing\n${show(versions)}`,
    );
  }
};

/** The newest audit row: what comes later is after this moment. */
export const auditMoment = async (client: Client): Promise<bigint> => {
  const { rows } = await client.query<{ seq: string }>(
    'select coalesce(max(seq), 0)::text as seq from oracle.audit',
  );
  return BigInt(rows[0]?.seq ?? 0);
};
