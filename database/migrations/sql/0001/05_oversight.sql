-- Who did what, sealed so that a change is found; emergency access; and who runs what must run once.

CREATE TABLE audit_event (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    actor_role text NOT NULL,
    action text NOT NULL,
    entity_type text NOT NULL,
    entity_id uuid,
    outcome text NOT NULL DEFAULT 'done',
    reason text,
    from_address inet,
    request_id text NOT NULL DEFAULT '',
    before jsonb,
    after jsonb,
    CONSTRAINT audit_event_pkey PRIMARY KEY (clinic_id, id, at),
    CONSTRAINT audit_event_actor_given CHECK (length(actor) > 0 AND length(actor_role) > 0),
    CONSTRAINT audit_event_action_given CHECK (length(action) > 0 AND length(entity_type) > 0),
    CONSTRAINT audit_event_outcome_known CHECK (outcome IN ('done', 'refused'))
) PARTITION BY RANGE (at);
CREATE TABLE audit_event_default PARTITION OF audit_event DEFAULT;

CREATE INDEX audit_event_by_time ON audit_event (clinic_id, at);
CREATE INDEX audit_event_by_entity ON audit_event (clinic_id, entity_type, entity_id, at);

-- One link of a clinic's hash chain for each audit row, written by the sealer. A row that is changed, removed or
-- slipped in no longer matches its link.
CREATE TABLE audit_seal (
    clinic_id uuid NOT NULL,
    seq bigint NOT NULL,
    audit_event_id uuid NOT NULL,
    audit_event_at timestamptz NOT NULL,
    chain_hash bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_seal_pkey PRIMARY KEY (clinic_id, seq),
    CONSTRAINT audit_seal_once UNIQUE (clinic_id, audit_event_id),
    CONSTRAINT audit_seal_seq_positive CHECK (seq > 0),
    CONSTRAINT audit_seal_hash_is_sha256 CHECK (octet_length(chain_hash) = 32)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'append_only';
END $$;

-- Rows may be added and nothing else, by anybody who does not first take the triggers away.
-- TRUNCATE triggers do not reach partitions, so partitions are passed here one by one.
CREATE FUNCTION make_append_only(kept regclass, row_trigger boolean DEFAULT true) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF row_trigger THEN
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION refuse_change()', kept);
    END IF;
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', kept);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM medforall_app, medforall_worker', kept);
END $$;
REVOKE EXECUTE ON FUNCTION make_append_only FROM PUBLIC;

SELECT make_append_only('audit_event');
SELECT make_append_only('audit_event_default', row_trigger => false);
SELECT make_append_only('audit_seal');

CREATE TABLE break_glass (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    actor text NOT NULL,
    patient_id uuid,
    reason text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    reviewed_at timestamptz,
    reviewed_by text,
    CONSTRAINT break_glass_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT break_glass_clinic_exists FOREIGN KEY (clinic_id) REFERENCES clinic (id),
    CONSTRAINT break_glass_patient_exists FOREIGN KEY (clinic_id, patient_id) REFERENCES patient (clinic_id, id),
    CONSTRAINT break_glass_explained CHECK (length(btrim(reason)) BETWEEN 1 AND 1000),
    CONSTRAINT break_glass_one_hour
        CHECK (expires_at > granted_at AND expires_at <= granted_at + interval '1 hour'),
    CONSTRAINT break_glass_review_complete CHECK ((reviewed_at IS NULL) = (reviewed_by IS NULL))
);
CREATE INDEX break_glass_by_actor ON break_glass (clinic_id, actor, expires_at);

-- Not a clinic's data: which process runs what must run once. `token` grows with each new holder and fences the old.
CREATE TABLE lease (
    name text CONSTRAINT lease_pkey PRIMARY KEY,
    holder text NOT NULL,
    token bigint NOT NULL DEFAULT 1,
    acquired_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT lease_token_positive CHECK (token > 0)
);
REVOKE ALL ON lease FROM medforall_app;
