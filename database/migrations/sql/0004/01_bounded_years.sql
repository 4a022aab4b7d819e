-- What is in use names years that every zone knows the instants of, and a recurring window lasts at most a week. Rows
-- that are older than this and break it stay until they are put out of use or changed; the rule is not validated then.
DO $$
DECLARE
    years text := 'NOT active OR (start_local >= ''1971-01-01'' AND end_local < ''2200-01-01'')';
    week text := 'NOT active OR recurrence_rule IS NULL OR end_local - start_local <= interval ''7 days''';
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('closure', 'years_bounded', years),
        ('provider_availability', 'years_bounded', years), ('provider_availability', 'week_at_most', week),
        ('room_availability', 'years_bounded', years), ('room_availability', 'week_at_most', week),
        ('equipment_availability', 'years_bounded', years), ('equipment_availability', 'week_at_most', week)
    ) AS bound (on_table, name, holds) LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%s) NOT VALID',
            wanted.on_table, wanted.on_table || '_' || wanted.name, wanted.holds);
        BEGIN
            EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT %I',
                wanted.on_table, wanted.on_table || '_' || wanted.name);
        EXCEPTION WHEN check_violation THEN
            RAISE NOTICE 'rows of % break what holds for new ones: %', wanted.on_table, wanted.name;
        END;
    END LOOP;
END $$;
