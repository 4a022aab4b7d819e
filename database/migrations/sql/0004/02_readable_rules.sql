-- A null in a rule once stood for 0, and blackout dates could name any year. Neither is read any more.
UPDATE service_rule SET active = false, version = version + 1, updated_at = clock_timestamp()
WHERE active AND (
    jsonb_path_exists(rule_payload, 'strict $.** ? (@ == null)')
    OR rule_payload = '{}'
    OR rule_payload = '{"no_same_day": false}'
    OR rule_payload::text ~ '"(?!(197[1-9]|19[89]\d|2[01]\d\d)-)\d{4}-\d\d-\d\d"');
