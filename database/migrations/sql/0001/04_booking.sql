-- The truth about visits, and the one constraint that makes double booking impossible.

-- History: partitioned by month of the start, so old months can leave and day reads touch one partition.
CREATE TABLE appointment (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    location_id uuid NOT NULL,
    patient_id uuid,
    provider_id uuid NOT NULL,
    room_id uuid,
    service_id uuid NOT NULL,
    start_ts_utc timestamptz NOT NULL,
    end_ts_utc timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'scheduled',
    version bigint NOT NULL DEFAULT 1,
    room_selection_mode text NOT NULL DEFAULT 'auto',
    buffer_before_min integer NOT NULL DEFAULT 0,
    buffer_after_min integer NOT NULL DEFAULT 0,
    notes_encrypted bytea,
    metadata jsonb NOT NULL DEFAULT '{}',
    expires_at timestamptz,
    hold_token_hash bytea,
    override_reason_encrypted bytea,
    override_by text,
    overridden_rules text[] NOT NULL DEFAULT '{}',
    reason_encrypted bytea,
    cancel_reason text,
    created_by text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT appointment_pkey PRIMARY KEY (id, start_ts_utc),
    CONSTRAINT appointment_location_exists FOREIGN KEY (clinic_id, location_id) REFERENCES location (clinic_id, id),
    CONSTRAINT appointment_patient_exists FOREIGN KEY (clinic_id, patient_id) REFERENCES patient (clinic_id, id),
    CONSTRAINT appointment_provider_exists FOREIGN KEY (clinic_id, provider_id) REFERENCES provider (clinic_id, id),
    CONSTRAINT appointment_room_exists FOREIGN KEY (clinic_id, room_id) REFERENCES room (clinic_id, id),
    CONSTRAINT appointment_service_exists FOREIGN KEY (clinic_id, service_id) REFERENCES service (clinic_id, id),
    CONSTRAINT appointment_not_empty CHECK (end_ts_utc > start_ts_utc),
    CONSTRAINT appointment_finite CHECK (isfinite(start_ts_utc) AND isfinite(end_ts_utc)),
    CONSTRAINT appointment_whole_minutes CHECK (is_whole_minute(start_ts_utc) AND is_whole_minute(end_ts_utc)),
    CONSTRAINT appointment_status_known CHECK (status IN (
        'held', 'scheduled', 'confirmed', 'checked_in', 'in_progress', 'completed',
        'canceled', 'no_show', 'released', 'expired')),
    CONSTRAINT appointment_patient_known
        CHECK (patient_id IS NOT NULL OR status IN ('held', 'released', 'expired')),
    CONSTRAINT appointment_hold_complete
        CHECK (status <> 'held' OR (expires_at IS NOT NULL AND hold_token_hash IS NOT NULL)),
    CONSTRAINT appointment_room_mode_known CHECK (room_selection_mode IN ('specific', 'auto', 'none')),
    CONSTRAINT appointment_buffers_not_negative CHECK (buffer_before_min >= 0 AND buffer_after_min >= 0),
    CONSTRAINT appointment_override_explained
        CHECK ((override_by IS NULL) = (override_reason_encrypted IS NULL)),
    CONSTRAINT appointment_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT appointment_version_positive CHECK (version > 0)
) PARTITION BY RANGE (start_ts_utc);

-- Months that nobody has prepared land here, so that a booking never fails for a missing partition.
CREATE TABLE appointment_default PARTITION OF appointment DEFAULT;

CREATE INDEX idx_appointment_provider_date ON appointment (clinic_id, provider_id, start_ts_utc);
CREATE INDEX idx_appointment_location_date ON appointment (clinic_id, location_id, start_ts_utc);
CREATE INDEX idx_appointment_patient_date ON appointment (clinic_id, patient_id, start_ts_utc DESC);
CREATE INDEX idx_appointment_held ON appointment (expires_at) WHERE status = 'held';

-- Where an appointment lies, by id alone; moved in the same transaction as the appointment.
CREATE TABLE appointment_ref (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    start_ts_utc timestamptz NOT NULL,
    CONSTRAINT appointment_ref_pkey PRIMARY KEY (clinic_id, id)
);

-- The record of equipment used, kept after the claims are gone.
CREATE TABLE appointment_equipment (
    clinic_id uuid NOT NULL,
    appointment_id uuid NOT NULL,
    equipment_id uuid NOT NULL,
    units integer[] NOT NULL,
    CONSTRAINT appointment_equipment_pkey PRIMARY KEY (clinic_id, appointment_id, equipment_id),
    CONSTRAINT appointment_equipment_appointment_exists
        FOREIGN KEY (clinic_id, appointment_id) REFERENCES appointment_ref (clinic_id, id) ON DELETE CASCADE,
    CONSTRAINT appointment_equipment_equipment_exists
        FOREIGN KEY (clinic_id, equipment_id) REFERENCES equipment (clinic_id, id),
    CONSTRAINT appointment_equipment_units_positive CHECK (cardinality(units) > 0 AND 0 < ALL (units))
);

-- One row for each unit of each scarce thing that a visit takes. No key to appointment or resource: gaps claim a
-- resource id derived from rule and provider, and `medforall doctor` compares the tables.
CREATE TABLE claim (
    clinic_id uuid NOT NULL,
    resource_id uuid NOT NULL,
    unit integer NOT NULL,
    during tstzrange NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    appointment_id uuid NOT NULL,
    expires_at timestamptz,
    CONSTRAINT claim_pkey PRIMARY KEY (clinic_id, appointment_id, resource_id, unit),
    CONSTRAINT claim_no_overlap
        EXCLUDE USING gist (clinic_id WITH =, resource_id WITH =, unit WITH =, during WITH &&),
    CONSTRAINT claim_unit_positive CHECK (unit > 0),
    CONSTRAINT claim_not_empty CHECK (NOT isempty(during) AND starts_at < ends_at),
    CONSTRAINT claim_finite CHECK (isfinite(starts_at) AND isfinite(ends_at)),
    CONSTRAINT claim_during_is_bounds CHECK (during = tstzrange(starts_at, ends_at, '[)')),
    CONSTRAINT claim_whole_minutes CHECK (is_whole_minute(starts_at) AND is_whole_minute(ends_at))
);
-- Range operators are not leakproof, so under row-level security a day's claims are read by plain bounds.
CREATE INDEX claim_by_resource_start ON claim (clinic_id, resource_id, starts_at);

-- The first row each mutating call writes. `response` is ciphertext; without it the call is still running.
CREATE TABLE idempotency_key (
    clinic_id uuid NOT NULL,
    principal text NOT NULL,
    method text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status_code integer,
    response bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_key_pkey PRIMARY KEY (clinic_id, principal, method, key),
    CONSTRAINT idempotency_key_short CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_key_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32)
);
CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at);

-- Events wait here until the relay has published them; order within an aggregate is its own version.
CREATE TABLE outbox_event (
    id bigserial CONSTRAINT outbox_event_pkey PRIMARY KEY,
    event_id uuid NOT NULL,
    clinic_id uuid NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id uuid NOT NULL,
    aggregate_version bigint NOT NULL,
    event_type text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error text,
    parked_at timestamptz,
    CONSTRAINT outbox_event_id_unique UNIQUE (event_id),
    CONSTRAINT outbox_event_version_positive CHECK (aggregate_version > 0),
    CONSTRAINT outbox_event_headers_is_object CHECK (jsonb_typeof(headers) = 'object'),
    CONSTRAINT outbox_event_attempts_not_negative CHECK (attempts >= 0)
);
CREATE INDEX idx_outbox_unpublished ON outbox_event (id) WHERE published_at IS NULL;
CREATE INDEX idx_outbox_aggregate ON outbox_event (clinic_id, aggregate_type, aggregate_id, id);
CREATE INDEX idx_outbox_age ON outbox_event USING brin (created_at) WITH (autosummarize = on);
