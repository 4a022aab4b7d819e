-- Nothing has ever written these. A visit's reason, also that of a cancellation, is `reason_encrypted`; an open place
-- for any JSON would be a place for patient data in clear; events carry their trace in `traceparent`.
ALTER TABLE appointment DROP COLUMN cancel_reason, DROP COLUMN metadata;
ALTER TABLE patient DROP COLUMN metadata;
ALTER TABLE clinic DROP COLUMN metadata;
ALTER TABLE outbox_event DROP COLUMN headers;
