-- A booking may send its locks together with its writes and COMMIT, judged on what it read before them. When that has
-- changed meanwhile, this ends the transaction before any of it holds, with a code of its own: the call is then run
-- again, and reads once more under its locks.
CREATE FUNCTION require_untouched(is_untouched boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF is_untouched IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'MF001', MESSAGE = 'what was judged has changed meanwhile';
    END IF;
END $$;
