-- Which months of a partitioned table lie in archived tables of their own. What points into such a month, such as
-- `appointment_ref`, stays and is not an orphan.
CREATE TABLE detached_month (
    parent text NOT NULL,
    month date NOT NULL,
    detached_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT detached_month_pkey PRIMARY KEY (parent, month),
    CONSTRAINT detached_month_begins_it CHECK (extract(day FROM month) = 1)
);
REVOKE ALL ON detached_month FROM medforall_app;
REVOKE INSERT, UPDATE, DELETE ON detached_month FROM medforall_worker;

-- Months that were detached before this was written down.
INSERT INTO detached_month (parent, month)
SELECT found.parts[1], make_date(found.parts[2]::integer, found.parts[3]::integer, 1)
FROM (
    SELECT c.oid, regexp_match(c.relname, '^(appointment|audit_event)_(\d{4})_(\d{2})$') AS parts
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
) AS found
WHERE found.parts IS NOT NULL AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = found.oid);
