-- Patients: everything that names a person is ciphertext under the clinic's data key. Search runs on keyed hashes.

-- The data keys of a clinic, wrapped by the master key. The newest encrypts; the others still decrypt.
CREATE TABLE clinic_key (
    clinic_id uuid NOT NULL,
    version integer NOT NULL,
    wrapped_key bytea NOT NULL,
    master_key_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    rewrapped_at timestamptz,
    CONSTRAINT clinic_key_pkey PRIMARY KEY (clinic_id, version),
    CONSTRAINT clinic_key_clinic_exists FOREIGN KEY (clinic_id) REFERENCES clinic (id),
    CONSTRAINT clinic_key_version_positive CHECK (version > 0),
    CONSTRAINT clinic_key_is_wrapped CHECK (octet_length(wrapped_key) BETWEEN 40 AND 512)
);

CREATE TABLE patient (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    name_encrypted bytea NOT NULL,
    dob_encrypted bytea,
    contact_encrypted bytea,
    notes_encrypted bytea,
    phone_hash bytea,
    email_hash bytea,
    dob_hash bytea,
    placeholder boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT patient_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT patient_is_resource FOREIGN KEY (clinic_id, id) REFERENCES resource (clinic_id, id),
    CONSTRAINT patient_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT patient_version_positive CHECK (version > 0)
);
CREATE INDEX patient_by_phone ON patient (clinic_id, phone_hash) WHERE phone_hash IS NOT NULL;
CREATE INDEX patient_by_email ON patient (clinic_id, email_hash) WHERE email_hash IS NOT NULL;
CREATE INDEX patient_by_dob ON patient (clinic_id, dob_hash) WHERE dob_hash IS NOT NULL;

-- Keyed hashes of the prefixes of a patient's names. A table and not an array with a GIN index: array operators are
-- not leakproof, so under row-level security such an index is never used, while equality of bytea is.
CREATE TABLE patient_name_token (
    clinic_id uuid NOT NULL,
    token bytea NOT NULL,
    patient_id uuid NOT NULL,
    CONSTRAINT patient_name_token_pkey PRIMARY KEY (clinic_id, token, patient_id),
    CONSTRAINT patient_name_token_patient_exists
        FOREIGN KEY (clinic_id, patient_id) REFERENCES patient (clinic_id, id) ON DELETE CASCADE
);
CREATE INDEX patient_name_token_by_patient ON patient_name_token (clinic_id, patient_id);
