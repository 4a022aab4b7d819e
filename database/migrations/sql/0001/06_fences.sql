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

-- A stuck statement, lock or transaction of a service ends by itself. A deadlock is found after 200 ms instead of a
-- second; only a superuser may say so, elsewhere the server's own setting stands.
ALTER ROLE medforall_app SET statement_timeout = '5s';
ALTER ROLE medforall_app SET lock_timeout = '3s';
ALTER ROLE medforall_app SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE medforall_worker SET statement_timeout = '60s';
ALTER ROLE medforall_worker SET lock_timeout = '5s';
ALTER ROLE medforall_worker SET idle_in_transaction_session_timeout = '60s';
DO $$
BEGIN
    ALTER ROLE medforall_app SET deadlock_timeout = '200ms';
    ALTER ROLE medforall_worker SET deadlock_timeout = '200ms';
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'deadlock_timeout stays as the server has it';
END $$;
