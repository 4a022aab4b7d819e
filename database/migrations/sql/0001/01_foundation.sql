-- What every table below stands on: the extension behind the exclusion constraint, the two roles of the services,
-- the known time zones, and the function that fences a table off by clinic.

CREATE EXTENSION IF NOT EXISTS btree_gist;

-- Roles belong to the cluster, not to this database: they may be there already, or be made by a neighbour this moment.
-- They get LOGIN and a password when the operator sets one (database/roles.py).
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['medforall_app', 'medforall_worker'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;

-- The fences below hold for the owner too, so an owner that is no superuser joins the workers to load and move rows.
DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT medforall_worker TO %I', current_user);
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO medforall_app, medforall_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO medforall_app, medforall_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO medforall_app, medforall_worker;

-- The IANA names this server knows. A table, because a foreign key to it is exact and costs an index look-up, while
-- pg_timezone_names reads a thousand files. `medforall migrate` adds the names of a newer zone database.
CREATE TABLE time_zone (
    name text CONSTRAINT time_zone_pkey PRIMARY KEY
);
INSERT INTO time_zone (name)
SELECT name FROM pg_timezone_names WHERE name !~ '^(posix|right)/' AND name NOT IN ('posixrules', 'Factory', 'localtime');
REVOKE INSERT, UPDATE, DELETE ON time_zone FROM medforall_app, medforall_worker;

-- Instants and wall times are whole minutes everywhere.
CREATE FUNCTION is_whole_minute(instant timestamptz) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN extract(epoch FROM instant) % 60 = 0;
CREATE FUNCTION is_whole_minute(wall timestamp) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN extract(epoch FROM wall) % 60 = 0;

-- Fences a table off by clinic, for the owner too: the application sees the clinic of its transaction and, without
-- one, nothing; workers see all. Partitions are fenced one by one, since a partition can be named directly.
CREATE FUNCTION fence_by_clinic(fenced regclass, clinic_column text DEFAULT 'clinic_id') RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE own_clinic text := format('%I = nullif(current_setting(''app.clinic_id'', true), '''')::uuid', clinic_column);
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', fenced);
    EXECUTE format('CREATE POLICY own_clinic ON %s TO medforall_app USING (%s) WITH CHECK (%s)', fenced, own_clinic, own_clinic);
    EXECUTE format('CREATE POLICY every_clinic ON %s TO medforall_worker USING (true) WITH CHECK (true)', fenced);
END $$;
REVOKE EXECUTE ON FUNCTION fence_by_clinic FROM PUBLIC;
