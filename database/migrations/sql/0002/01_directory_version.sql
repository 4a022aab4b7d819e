-- One number a clinic that rises with every change of what `sql/location_facts.sql` reads, whoever makes the change: a
-- booking that has the facts of a version need not read them again. Triggers count, so no writer can forget.
CREATE TABLE directory_version (
    clinic_id uuid CONSTRAINT directory_version_pkey PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1
);
INSERT INTO directory_version (clinic_id) SELECT id FROM clinic;
SELECT fence_by_clinic('directory_version');

-- The statement's rows are in `changed`. Clinics in the order of their ids, as all who lock several.
CREATE FUNCTION raise_directory_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO directory_version (clinic_id) SELECT DISTINCT clinic_id FROM changed ORDER BY clinic_id
    ON CONFLICT (clinic_id) DO UPDATE SET version = directory_version.version + 1;
    RETURN NULL;
END $$;
CREATE FUNCTION raise_version_of_clinic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO directory_version (clinic_id) SELECT id FROM changed ORDER BY id
    ON CONFLICT (clinic_id) DO UPDATE SET version = directory_version.version + 1;
    RETURN NULL;
END $$;

DO $$
DECLARE watched text;
BEGIN
    FOREACH watched IN ARRAY ARRAY[
        'location', 'location_hours', 'closure', 'provider', 'room', 'equipment', 'service', 'service_rule',
        'provider_availability', 'room_availability', 'equipment_availability', 'provider_preference'
    ] LOOP
        EXECUTE format('CREATE TRIGGER version_after_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION raise_directory_version()', watched);
        EXECUTE format('CREATE TRIGGER version_after_update AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION raise_directory_version()', watched);
        EXECUTE format('CREATE TRIGGER version_after_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION raise_directory_version()', watched);
    END LOOP;
END $$;
CREATE TRIGGER version_after_insert AFTER INSERT ON clinic REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION raise_version_of_clinic();
CREATE TRIGGER version_after_update AFTER UPDATE ON clinic REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION raise_version_of_clinic();
