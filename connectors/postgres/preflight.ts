// Owns what is checked on the server before a pipeline starts, each finding with the SQL that mends it.
// Changes nothing. What concerns single tables is preflight-tables.ts's.
import pg from 'pg';
import type { TableName } from '../../src/change/schema.ts';
import type { Finding } from '../../src/connector.ts';
import { findIdleChoices } from './catalog-choices.ts';
import type { Settings } from './options.ts';
import { checkTables } from './preflight-tables.ts';
import {
  type Fault,
  findUnidentified,
  publicationFaults,
  quoteTable,
  replicaIdentityFix,
} from './publication.ts';
import { holderText, readSlot } from './slot.ts';

const OLDEST_MAJOR = 15;
/** The first one on which a standby can decode. */
const STANDBY_MAJOR = 16;
const SMALL_WORK_MEM_BYTES = 64 << 20;

type ServerFacts = {
  major: number;
  walLevel: string;
  standby: boolean;
  maxSlots: number;
  slots: number;
  maxSenders: number;
  senders: number;
  role: string;
  mayReplicate: boolean;
  database: string;
  mayCreate: boolean;
  keepBytes: number;
  workMemBytes: number;
  idleTimeout: string | null;
};

const SERVER_SQL = `
  SELECT current_setting('server_version_num')::int / 10000 AS major,
         current_setting('wal_level') AS "walLevel",
         pg_is_in_recovery() AS standby, current_setting('max_replication_slots')::int AS "maxSlots",
         (SELECT count(*)::int FROM pg_replication_slots) AS slots,
         current_setting('max_wal_senders')::int AS "maxSenders",
         (SELECT count(*)::int FROM pg_stat_replication) AS senders,
         current_user AS role, r.rolsuper OR r.rolreplication OR EXISTS (
           SELECT 1 FROM pg_roles m WHERE m.rolname = 'rds_replication'
              AND pg_has_role(current_user, m.oid, 'MEMBER')) AS "mayReplicate",
         current_database() AS database, has_database_privilege(current_database(), 'CREATE') AS "mayCreate",
         (SELECT CASE setting WHEN '-1' THEN -1 ELSE setting::float8 * 1048576 END
            FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS "keepBytes",
         (SELECT setting::float8 * 1024 FROM pg_settings
           WHERE name = 'logical_decoding_work_mem') AS "workMemBytes",
         (SELECT nullif(setting, '0') || coalesce(unit, '') FROM pg_settings
           WHERE name = 'idle_replication_slot_timeout') AS "idleTimeout"
    FROM pg_roles r WHERE r.rolname = current_user`;

const ok = (what: string): Finding => ({ level: 'ok', what, fix: null });
const error = (what: string, fix: string): Finding => ({ level: 'error', what, fix });
const warning = (what: string, fix: string): Finding => ({ level: 'warning', what, fix });

/** Everything that stands in the way, and what is well; `tables` are the ones that match. */
export const runPreflight = async (
  client: pg.ClientBase,
  settings: Settings,
  tables: readonly TableName[],
): Promise<Finding[]> => {
  const facts: ServerFacts = (await client.query(SERVER_SQL)).rows[0];
  return [
    ...checkServer(facts),
    ...(await checkSlot(client, settings, facts)),
    ...(await checkTables(client, settings.patterns, tables)),
    ...(await checkIdentities(client, tables)),
    ...findIdleChoices(settings, tables),
    ...(tables.length === 0 ? [] : await checkPublication(client, settings, { facts, tables })),
  ];
};

const checkServer = (facts: ServerFacts): Finding[] => {
  const found: Finding[] = [];
  if (facts.major < OLDEST_MAJOR) {
    found.push(
      error(`PostgreSQL ${facts.major} is too old; ${OLDEST_MAJOR} is the oldest.`, 'Upgrade the server.'),
    );
  } else found.push(ok(`PostgreSQL ${facts.major}`));
  found.push(
    facts.walLevel === 'logical'
      ? ok('wal_level is logical')
      : error(
          `wal_level is ${facts.walLevel}: the log does not hold rows.`,
          'ALTER SYSTEM SET wal_level = logical; then restart the server.',
        ),
  );
  if (facts.standby) found.push(checkStandby(facts));
  found.push(
    facts.mayReplicate
      ? ok(`role ${facts.role} may replicate`)
      : error(
          `The role ${facts.role} may not replicate.`,
          `ALTER ROLE ${pg.escapeIdentifier(facts.role)} REPLICATION; (on RDS: GRANT rds_replication TO it)`,
        ),
  );
  if (facts.workMemBytes < SMALL_WORK_MEM_BYTES) {
    found.push(
      warning(
        `logical_decoding_work_mem is ${facts.workMemBytes / 1024} kB: larger transactions are spilled to ` +
          `disk by the server.`,
        "ALTER SYSTEM SET logical_decoding_work_mem = '64MB'; SELECT pg_reload_conf();",
      ),
    );
  }
  if (facts.idleTimeout !== null) {
    found.push(
      warning(
        `idle_replication_slot_timeout is ${facts.idleTimeout}: a pipeline that rests longer loses its ` +
          `slot, and history.`,
        'ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();',
      ),
    );
  }
  return found;
};

const checkStandby = ({ major }: ServerFacts): Finding =>
  major < STANDBY_MAJOR
    ? error(
        `This is a standby, and PostgreSQL ${major} cannot decode there.`,
        'Give the address of the primary.',
      )
    : warning(
        'This is a standby: making a slot waits for the primary, and no publication can be made here.',
        'Run SELECT pg_log_standby_snapshot(); on the primary while the pipeline starts; make the ' +
          'publication there.',
      );

const checkSlot = async (
  client: pg.ClientBase,
  { slot: name }: Settings,
  { keepBytes, maxSlots, slots, maxSenders, senders }: ServerFacts,
): Promise<Finding[]> => {
  const found: Finding[] = [];
  const slot = await readSlot(client, name);
  if (slot === null && slots >= maxSlots) {
    found.push(
      error(
        `All ${maxSlots} replication slots are taken.`,
        'ALTER SYSTEM SET max_replication_slots = ' +
          `${maxSlots + 5}; then restart; or SELECT pg_drop_replication_slot(NAME) for an abandoned one.`,
      ),
    );
  } else found.push(ok(`${maxSlots - slots} replication slots are free`));
  if (slot?.holder) {
    const end = `SELECT pg_terminate_backend(${slot.holder.pid}); if it is a leftover.`;
    found.push(warning(`The slot ${name} is being read by ${holderText(slot.holder)}.`, end));
  } else if (senders >= maxSenders) {
    found.push(
      error(
        `All ${maxSenders} replication connections are taken.`,
        `ALTER SYSTEM SET max_wal_senders = ${maxSenders + 5}; then restart the server.`,
      ),
    );
  } else found.push(ok(`${maxSenders - senders} replication connections are free`));
  found.push(...checkRetention(name, keepBytes, slot?.safeWalSize ?? null));
  return found;
};

const checkRetention = (name: string, keepBytes: number, safeBytes: bigint | null): Finding[] => {
  const megabytes = Math.round(keepBytes / (1 << 20));
  if (keepBytes < 0) {
    return [
      warning(
        'max_slot_wal_keep_size is not set: a pipeline that stays down fills the disk of the server.',
        "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); (as much as the disk " +
          'can spare)',
      ),
    ];
  }
  const usedShare = safeBytes === null ? 0 : 1 - Number(safeBytes) / keepBytes;
  if (usedShare < 0.5) return [ok(`the server keeps up to ${megabytes} MB of log for a slot`)];
  const percent = Math.round(usedShare * 100);
  const what = `The slot ${name} holds back ${percent} % of the ${megabytes} MB of log it may.`;
  const fix = 'Start the pipeline soon, or raise max_slot_wal_keep_size.';
  return [usedShare < 0.8 ? warning(what, fix) : error(`${what} It is about to be lost.`, fix)];
};

const checkIdentities = async (client: pg.ClientBase, tables: readonly TableName[]): Promise<Finding[]> =>
  (await findUnidentified(client, tables)).map((table) =>
    error(
      `${table.join('.')} has no usable replica identity: once published, every UPDATE and DELETE on it ` +
        `fails.`,
      `Give it a primary key, or: ${replicaIdentityFix(table)}`,
    ),
  );

const checkPublication = async (
  client: pg.ClientBase,
  { publication }: Settings,
  { facts, tables }: { facts: ServerFacts; tables: readonly TableName[] },
): Promise<Finding[]> => {
  const { rows } = await client.query('SELECT 1 FROM pg_publication WHERE pubname = $1', [publication.name]);
  if (rows.length > 0 || publication.create === 'never') {
    const faults = await publicationFaults(client, publication, tables);
    const mend = ({ what, fix }: Fault): Finding => error(what, fix);
    return faults.length === 0 ? [ok(`the publication ${publication.name} is complete`)] : faults.map(mend);
  }
  return [...checkCreation(facts), ...(await checkOwners(client, tables))];
};

const checkCreation = ({ mayCreate, role, database }: ServerFacts): Finding[] => {
  if (mayCreate) return [ok('a publication may be made')];
  const grant = `GRANT CREATE ON DATABASE ${pg.escapeIdentifier(database)} TO ${pg.escapeIdentifier(role)};`;
  return [
    error(
      `The role ${role} may not make a publication.`,
      `${grant} or set source.publication.create to never.`,
    ),
  ];
};

const checkOwners = async (client: pg.ClientBase, tables: readonly TableName[]): Promise<Finding[]> => {
  const { rows } = await client.query(
    `SELECT n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner, current_user AS role
       FROM unnest($1::text[], $2::text[]) AS w(schema, name)
       JOIN pg_namespace n ON n.nspname = w.schema
       JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
      WHERE NOT pg_has_role(c.relowner, 'USAGE')`,
    [tables.map(([schema]) => schema), tables.map(([, name]) => name)],
  );
  return rows.map(({ schema, name, owner, role }: Record<'schema' | 'name' | 'owner' | 'role', string>) =>
    error(
      `Only its owner ${owner} may publish ${schema}.${name}.`,
      `GRANT ${pg.escapeIdentifier(owner)} TO ${pg.escapeIdentifier(role)}; or let the owner run ALTER ` +
        `PUBLICATION .. ADD ` +
        `TABLE ${quoteTable([schema, name])}, with source.publication.create: never.`,
    ),
  );
};
