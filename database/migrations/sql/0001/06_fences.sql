-- Row-level security on every table that holds a clinic's rows; a test finds the ones that are forgotten.

SELECT fence_by_clinic('clinic', 'id');
SELECT fence_by_clinic(fenced::regclass) FROM unnest(ARRAY[
    'location', 'location_hours', 'closure', 'resource', 'provider', 'room', 'equipment', 'service', 'service_rule',
    'provider_availability', 'room_availability', 'equipment_availability', 'provider_preference',
    'clinic_key', 'patient', 'patient_name_token',
    'appointment', 'appointment_default', 'appointment_ref', 'appointment_equipment', 'claim',
    'idempotency_key', 'outbox_event',
    'audit_event', 'audit_event_default', 'audit_seal', 'break_glass'
]) AS fenced;

-- Alembic's own table: services read it to tell an old schema, nobody but the owner writes it.
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM medforall_app, medforall_worker;
GRANT SELECT ON alembic_version TO medforall_app, medforall_worker;

-- A stuck statement, lock or transaction of a service ends by itself, and its sessions speak UTC. Roles belong to the
-- cluster: what a role has already is left alone, so that two databases may be migrated at the same time.
-- A deadlock is found after 200 ms instead of a second; only a superuser may say so, elsewhere the server's setting
-- stands.
DO $$
DECLARE wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('medforall_app', 'timezone', 'UTC'),
            ('medforall_app', 'statement_timeout', '5s'),
            ('medforall_app', 'lock_timeout', '3s'),
            ('medforall_app', 'idle_in_transaction_session_timeout', '10s'),
            ('medforall_app', 'deadlock_timeout', '200ms'),
            ('medforall_worker', 'timezone', 'UTC'),
            ('medforall_worker', 'statement_timeout', '60s'),
            ('medforall_worker', 'lock_timeout', '5s'),
            ('medforall_worker', 'idle_in_transaction_session_timeout', '60s'),
            ('medforall_worker', 'deadlock_timeout', '200ms')
        ) AS s (role_name, setting, value)
        WHERE NOT EXISTS (
            SELECT FROM pg_roles WHERE rolname = role_name AND format('%s=%s', setting, value) ILIKE ANY (rolconfig))
    LOOP
        BEGIN
            EXECUTE format('ALTER ROLE %I SET %I = %L', wanted.role_name, wanted.setting, wanted.value);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE '% of % stays as the server has it', wanted.setting, wanted.role_name;
        END;
    END LOOP;
END $$;
