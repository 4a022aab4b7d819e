-- A booking writes its claims, its rows and COMMIT in one round trip: when a claim was not to be had, this ends the
-- transaction before any of it holds. A serialization failure, because the call that is run again may well succeed.
CREATE FUNCTION require_all_claims(had bigint, wanted integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF had < wanted THEN
        RAISE serialization_failure USING MESSAGE = format('%s of %s claims were taken meanwhile', wanted - had, wanted);
    END IF;
END $$;
