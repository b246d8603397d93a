-- What a pipeline needs in the source, once, as a superuser. wal_level needs a restart of the server.
ALTER SYSTEM SET wal_level = logical;
ALTER SYSTEM SET max_replication_slots = 10;
ALTER SYSTEM SET max_wal_senders = 10;
-- A pipeline that stays down must not fill the disk: past this the slot is given up, and Varve says so.
ALTER SYSTEM SET max_slot_wal_keep_size = '50GB';

-- A role that may read and replicate, and no more. Set a password of your own: \password varve
CREATE ROLE varve LOGIN REPLICATION;
GRANT USAGE ON SCHEMA public TO varve;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO varve;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO varve;

-- The publication: either the owner of the tables makes it here, and the pipeline says publication: {create: never},
CREATE PUBLICATION varve_shop FOR TABLES IN SCHEMA public WITH (publish_via_partition_root = true);
-- or Varve makes and extends its own, for which the role must be able to act as the owner of the tables:
--   GRANT CREATE ON DATABASE shop TO varve;
--   GRANT shop_owner TO varve;
