-- What is in use names years that every zone knows the instants of, and a recurring window lasts at most a week. A row
-- that is older than this stays until it is put out of use or changed.
ALTER TABLE closure ADD CONSTRAINT closure_years_bounded CHECK (
    NOT active OR (start_local >= '1971-01-01' AND end_local < '2200-01-01')) NOT VALID;
DO $$
DECLARE bounded text;
BEGIN
    FOREACH bounded IN ARRAY ARRAY['provider_availability', 'room_availability', 'equipment_availability'] LOOP
        EXECUTE format($sql$ALTER TABLE %1$I
            ADD CONSTRAINT %2$I CHECK (
                NOT active OR (start_local >= '1971-01-01' AND end_local < '2200-01-01')) NOT VALID,
            ADD CONSTRAINT %3$I CHECK (
                NOT active OR recurrence_rule IS NULL OR end_local - start_local <= interval '7 days') NOT VALID$sql$,
            bounded, bounded || '_years_bounded', bounded || '_week_at_most');
    END LOOP;
END $$;
