-- What a clinic sets up: places, people, rooms, equipment, services, rules and working windows.
-- Every key begins with clinic_id, so that a row can only point at rows of its own clinic.

CREATE TABLE clinic (
    id uuid CONSTRAINT clinic_pkey PRIMARY KEY,
    name text NOT NULL,
    default_timezone text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    public_search boolean NOT NULL DEFAULT false,
    requests_per_minute integer NOT NULL DEFAULT 0,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT clinic_name_given CHECK (length(btrim(name)) BETWEEN 1 AND 255),
    CONSTRAINT clinic_default_timezone_exists FOREIGN KEY (default_timezone) REFERENCES time_zone (name),
    CONSTRAINT clinic_status_known CHECK (status IN ('active', 'suspended', 'archived')),
    CONSTRAINT clinic_requests_per_minute_not_negative CHECK (requests_per_minute >= 0),
    CONSTRAINT clinic_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT clinic_version_positive CHECK (version > 0)
);

CREATE TABLE location (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    address jsonb NOT NULL DEFAULT '{}',
    timezone text,
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT location_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT location_clinic_exists FOREIGN KEY (clinic_id) REFERENCES clinic (id),
    CONSTRAINT unique_location_name_per_clinic UNIQUE (clinic_id, name),
    CONSTRAINT location_name_given CHECK (length(btrim(name)) BETWEEN 1 AND 255),
    CONSTRAINT location_timezone_exists FOREIGN KEY (timezone) REFERENCES time_zone (name),
    CONSTRAINT location_address_is_object CHECK (jsonb_typeof(address) = 'object'),
    CONSTRAINT location_version_positive CHECK (version > 0)
);

-- Weekly opening in minutes from local midnight of an ISO weekday; past 1440 it runs into the next day.
-- A location without a row is always open.
CREATE TABLE location_hours (
    clinic_id uuid NOT NULL,
    location_id uuid NOT NULL,
    weekday smallint NOT NULL,
    opens_min smallint NOT NULL,
    closes_min smallint NOT NULL,
    CONSTRAINT location_hours_pkey PRIMARY KEY (clinic_id, location_id, weekday, opens_min),
    CONSTRAINT location_hours_location_exists
        FOREIGN KEY (clinic_id, location_id) REFERENCES location (clinic_id, id) ON DELETE CASCADE,
    CONSTRAINT location_hours_weekday_is_iso CHECK (weekday BETWEEN 1 AND 7),
    CONSTRAINT location_hours_within_day CHECK (opens_min BETWEEN 0 AND 1439 AND closes_min <= 2880),
    CONSTRAINT location_hours_not_empty CHECK (closes_min > opens_min AND closes_min - opens_min <= 1440)
);

-- Closed in LOCAL wall time of the location, or, without one, of each location of the clinic.
CREATE TABLE closure (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    location_id uuid,
    start_local timestamp NOT NULL,
    end_local timestamp NOT NULL,
    reason text NOT NULL DEFAULT '',
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT closure_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT closure_clinic_exists FOREIGN KEY (clinic_id) REFERENCES clinic (id),
    CONSTRAINT closure_location_exists FOREIGN KEY (clinic_id, location_id) REFERENCES location (clinic_id, id),
    CONSTRAINT closure_not_empty CHECK (end_local > start_local),
    CONSTRAINT closure_finite CHECK (isfinite(start_local) AND isfinite(end_local)),
    CONSTRAINT closure_whole_minutes CHECK (is_whole_minute(start_local) AND is_whole_minute(end_local)),
    CONSTRAINT closure_reason_short CHECK (length(reason) <= 500),
    CONSTRAINT closure_version_positive CHECK (version > 0)
);
CREATE INDEX closure_by_end ON closure (clinic_id, end_local) WHERE active;

-- The common root of all that is scarce: what a booking locks, and what a claim names.
-- Rows are updated by every booking, so pages keep room for the new version beside the old.
CREATE TABLE resource (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    calendar_version bigint NOT NULL DEFAULT 0,
    quota_day date,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT resource_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT resource_clinic_exists FOREIGN KEY (clinic_id) REFERENCES clinic (id),
    CONSTRAINT resource_kind_known CHECK (kind IN ('provider', 'room', 'equipment', 'patient', 'quota')),
    CONSTRAINT resource_quota_has_day CHECK ((kind = 'quota') = (quota_day IS NOT NULL)),
    CONSTRAINT resource_calendar_version_not_negative CHECK (calendar_version >= 0)
) WITH (fillfactor = 70);
CREATE INDEX resource_quota_by_day ON resource (quota_day) WHERE kind = 'quota';

CREATE TABLE provider (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    location_id uuid,
    name text NOT NULL,
    specialty text,
    credentials jsonb NOT NULL DEFAULT '{}',
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT provider_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT provider_is_resource FOREIGN KEY (clinic_id, id) REFERENCES resource (clinic_id, id),
    CONSTRAINT provider_location_exists FOREIGN KEY (clinic_id, location_id) REFERENCES location (clinic_id, id),
    CONSTRAINT provider_name_given CHECK (length(btrim(name)) BETWEEN 1 AND 255),
    CONSTRAINT provider_specialty_short CHECK (length(specialty) <= 100),
    CONSTRAINT provider_credentials_is_object CHECK (jsonb_typeof(credentials) = 'object'),
    CONSTRAINT provider_version_positive CHECK (version > 0)
);

-- `capacity` counts persons; `concurrent_visits` is how many visits the room holds at once, each a unit to claim.
CREATE TABLE room (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    location_id uuid NOT NULL,
    name text NOT NULL,
    capacity integer NOT NULL DEFAULT 1,
    concurrent_visits integer NOT NULL DEFAULT 1,
    turnaround_min integer NOT NULL DEFAULT 0,
    room_type text,
    features jsonb NOT NULL DEFAULT '{}',
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT room_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT room_is_resource FOREIGN KEY (clinic_id, id) REFERENCES resource (clinic_id, id),
    CONSTRAINT room_location_exists FOREIGN KEY (clinic_id, location_id) REFERENCES location (clinic_id, id),
    CONSTRAINT unique_room_name_per_location UNIQUE (clinic_id, location_id, name),
    CONSTRAINT room_name_given CHECK (length(btrim(name)) BETWEEN 1 AND 100),
    CONSTRAINT room_type_short CHECK (length(room_type) BETWEEN 1 AND 50),
    CONSTRAINT room_capacity_positive CHECK (capacity > 0),
    CONSTRAINT room_concurrent_visits_bounded CHECK (concurrent_visits BETWEEN 1 AND 1000),
    CONSTRAINT room_turnaround_bounded CHECK (turnaround_min BETWEEN 0 AND 1440),
    CONSTRAINT room_features_is_object CHECK (jsonb_typeof(features) = 'object'),
    CONSTRAINT room_version_positive CHECK (version > 0)
);

-- Without a location it belongs to every location of the clinic.
CREATE TABLE equipment (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    location_id uuid,
    type text NOT NULL,
    name text NOT NULL,
    quantity integer NOT NULL DEFAULT 1,
    turnaround_min integer NOT NULL DEFAULT 0,
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT equipment_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT equipment_is_resource FOREIGN KEY (clinic_id, id) REFERENCES resource (clinic_id, id),
    CONSTRAINT equipment_location_exists FOREIGN KEY (clinic_id, location_id) REFERENCES location (clinic_id, id),
    CONSTRAINT equipment_name_given CHECK (length(btrim(name)) BETWEEN 1 AND 255),
    CONSTRAINT equipment_type_given CHECK (length(btrim(type)) BETWEEN 1 AND 100),
    CONSTRAINT equipment_quantity_bounded CHECK (quantity BETWEEN 1 AND 1000),
    CONSTRAINT equipment_turnaround_bounded CHECK (turnaround_min BETWEEN 0 AND 1440),
    CONSTRAINT equipment_version_positive CHECK (version > 0)
);

-- A minute or more of work, with what it needs before, after and beside it.
CREATE TABLE service (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    default_duration_min integer NOT NULL,
    min_duration_min integer NOT NULL,
    max_duration_min integer NOT NULL,
    buffer_before_min integer NOT NULL DEFAULT 0,
    buffer_after_min integer NOT NULL DEFAULT 0,
    slot_step_min integer NOT NULL DEFAULT 15,
    requires_room boolean NOT NULL DEFAULT true,
    requires_equipment boolean NOT NULL DEFAULT false,
    buffers_within_hours boolean NOT NULL DEFAULT false,
    allow_patient_overlap boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT service_clinic_exists FOREIGN KEY (clinic_id) REFERENCES clinic (id),
    CONSTRAINT service_name_given CHECK (length(btrim(name)) BETWEEN 1 AND 255),
    CONSTRAINT service_duration_positive CHECK (min_duration_min > 0 AND max_duration_min <= 1440),
    CONSTRAINT service_duration_within_limits
        CHECK (default_duration_min BETWEEN min_duration_min AND max_duration_min),
    CONSTRAINT service_buffers_bounded
        CHECK (buffer_before_min BETWEEN 0 AND 1440 AND buffer_after_min BETWEEN 0 AND 1440),
    CONSTRAINT service_slot_step_bounded CHECK (slot_step_min BETWEEN 5 AND 240),
    CONSTRAINT service_version_positive CHECK (version > 0)
);

-- Without a service it binds all services; a provider narrows it. The payload's shape is checked when it is written
-- (scheduling/rules), its type here.
CREATE TABLE service_rule (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    service_id uuid,
    provider_id uuid,
    rule_type text NOT NULL,
    rule_payload jsonb NOT NULL,
    priority integer NOT NULL DEFAULT 100,
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_rule_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT service_rule_clinic_exists FOREIGN KEY (clinic_id) REFERENCES clinic (id),
    CONSTRAINT service_rule_service_exists FOREIGN KEY (clinic_id, service_id) REFERENCES service (clinic_id, id),
    CONSTRAINT service_rule_provider_exists FOREIGN KEY (clinic_id, provider_id) REFERENCES provider (clinic_id, id),
    CONSTRAINT service_rule_type_known CHECK (rule_type IN (
        'allowed_provider', 'required_equipment_type', 'room_type', 'min_gap',
        'max_daily', 'lead_time', 'blackout_dates', 'patient_limit')),
    CONSTRAINT service_rule_payload_is_object CHECK (jsonb_typeof(rule_payload) = 'object'),
    CONSTRAINT service_rule_version_positive CHECK (version > 0)
);
CREATE INDEX service_rule_by_service ON service_rule (clinic_id, service_id) WHERE active;

-- Working windows are LOCAL wall times (first occurrence) with an optional RFC 5545 rule (RRULE, EXDATE, RDATE lines).
-- Their zone is their location's or, without one, that of each location searched.
CREATE TABLE provider_availability (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    provider_id uuid NOT NULL,
    location_id uuid,
    kind text NOT NULL,
    start_local timestamp NOT NULL,
    end_local timestamp NOT NULL,
    recurrence_rule text,
    reason text NOT NULL DEFAULT '',
    source text NOT NULL DEFAULT 'manual',
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT provider_availability_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT provider_availability_provider_exists
        FOREIGN KEY (clinic_id, provider_id) REFERENCES provider (clinic_id, id),
    CONSTRAINT provider_availability_location_exists
        FOREIGN KEY (clinic_id, location_id) REFERENCES location (clinic_id, id),
    CONSTRAINT provider_availability_kind_known CHECK (kind IN ('available', 'unavailable', 'override')),
    CONSTRAINT provider_availability_source_known CHECK (source IN ('manual', 'imported')),
    CONSTRAINT provider_availability_not_empty CHECK (end_local > start_local),
    CONSTRAINT provider_availability_finite CHECK (isfinite(start_local) AND isfinite(end_local)),
    CONSTRAINT provider_availability_whole_minutes
        CHECK (is_whole_minute(start_local) AND is_whole_minute(end_local)),
    CONSTRAINT provider_availability_rule_short CHECK (length(recurrence_rule) BETWEEN 1 AND 4000),
    CONSTRAINT provider_availability_reason_short CHECK (length(reason) <= 500),
    CONSTRAINT provider_availability_version_positive CHECK (version > 0)
);
CREATE INDEX provider_availability_by_provider ON provider_availability (clinic_id, provider_id) WHERE active;

CREATE TABLE room_availability (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    room_id uuid NOT NULL,
    kind text NOT NULL,
    start_local timestamp NOT NULL,
    end_local timestamp NOT NULL,
    recurrence_rule text,
    reason text NOT NULL DEFAULT '',
    source text NOT NULL DEFAULT 'manual',
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT room_availability_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT room_availability_room_exists FOREIGN KEY (clinic_id, room_id) REFERENCES room (clinic_id, id),
    CONSTRAINT room_availability_kind_known CHECK (kind IN ('available', 'unavailable', 'override')),
    CONSTRAINT room_availability_source_known CHECK (source IN ('manual', 'imported')),
    CONSTRAINT room_availability_not_empty CHECK (end_local > start_local),
    CONSTRAINT room_availability_finite CHECK (isfinite(start_local) AND isfinite(end_local)),
    CONSTRAINT room_availability_whole_minutes CHECK (is_whole_minute(start_local) AND is_whole_minute(end_local)),
    CONSTRAINT room_availability_rule_short CHECK (length(recurrence_rule) BETWEEN 1 AND 4000),
    CONSTRAINT room_availability_reason_short CHECK (length(reason) <= 500),
    CONSTRAINT room_availability_version_positive CHECK (version > 0)
);
CREATE INDEX room_availability_by_room ON room_availability (clinic_id, room_id) WHERE active;

CREATE TABLE equipment_availability (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    equipment_id uuid NOT NULL,
    kind text NOT NULL,
    start_local timestamp NOT NULL,
    end_local timestamp NOT NULL,
    recurrence_rule text,
    reason text NOT NULL DEFAULT '',
    source text NOT NULL DEFAULT 'manual',
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT equipment_availability_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT equipment_availability_equipment_exists
        FOREIGN KEY (clinic_id, equipment_id) REFERENCES equipment (clinic_id, id),
    CONSTRAINT equipment_availability_kind_known CHECK (kind IN ('available', 'unavailable', 'override')),
    CONSTRAINT equipment_availability_source_known CHECK (source IN ('manual', 'imported')),
    CONSTRAINT equipment_availability_not_empty CHECK (end_local > start_local),
    CONSTRAINT equipment_availability_finite CHECK (isfinite(start_local) AND isfinite(end_local)),
    CONSTRAINT equipment_availability_whole_minutes
        CHECK (is_whole_minute(start_local) AND is_whole_minute(end_local)),
    CONSTRAINT equipment_availability_rule_short CHECK (length(recurrence_rule) BETWEEN 1 AND 4000),
    CONSTRAINT equipment_availability_reason_short CHECK (length(reason) <= 500),
    CONSTRAINT equipment_availability_version_positive CHECK (version > 0)
);
CREATE INDEX equipment_availability_by_equipment ON equipment_availability (clinic_id, equipment_id) WHERE active;

CREATE TABLE provider_preference (
    clinic_id uuid NOT NULL,
    id uuid NOT NULL,
    provider_id uuid NOT NULL,
    service_id uuid,
    preferred_room_ids uuid[] NOT NULL DEFAULT '{}',
    preferred_equipment_type text,
    preferred_time_windows jsonb NOT NULL DEFAULT '[]',
    weight integer NOT NULL DEFAULT 50,
    active boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT provider_preference_pkey PRIMARY KEY (clinic_id, id),
    CONSTRAINT provider_preference_provider_exists
        FOREIGN KEY (clinic_id, provider_id) REFERENCES provider (clinic_id, id),
    CONSTRAINT provider_preference_service_exists
        FOREIGN KEY (clinic_id, service_id) REFERENCES service (clinic_id, id),
    CONSTRAINT provider_preference_weight_bounded CHECK (weight BETWEEN 0 AND 100),
    CONSTRAINT provider_preference_windows_is_array CHECK (jsonb_typeof(preferred_time_windows) = 'array'),
    CONSTRAINT provider_preference_version_positive CHECK (version > 0)
);
CREATE INDEX provider_preference_by_provider ON provider_preference (clinic_id, provider_id) WHERE active;
