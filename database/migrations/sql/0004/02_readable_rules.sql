-- What rules may have said and is not read any more: null for a field that is not there, days of any year, and nothing
-- at all. Each keeps what else it says; a day out of bounds falls away, a range ends at them. What then says nothing, or
-- lacks the number that null stood for, is put out of use. A service of the release before cannot write such a rule.
LOCK TABLE service_rule IN ACCESS EXCLUSIVE MODE;

UPDATE service_rule SET rule_payload = jsonb_strip_nulls(rule_payload), version = version + 1,
    updated_at = clock_timestamp()
WHERE active AND rule_payload @? 'strict $.* ? (@ == null)';

UPDATE service_rule SET version = version + 1, updated_at = clock_timestamp(),
    rule_payload = jsonb_strip_nulls(jsonb_build_object(
        'dates', (
            SELECT jsonb_agg(day ORDER BY place)
            FROM jsonb_array_elements_text(coalesce(rule_payload -> 'dates', '[]')) WITH ORDINALITY AS named (day, place)
            WHERE day COLLATE "C" BETWEEN '1971-01-01' AND '2199-12-31'),
        'ranges', (
            SELECT jsonb_agg(jsonb_build_object(
                'from', greatest(low, '1971-01-01' COLLATE "C"), 'to', least(high, '2199-12-31' COLLATE "C"))
                ORDER BY place)
            FROM jsonb_array_elements(coalesce(rule_payload -> 'ranges', '[]')) WITH ORDINALITY AS named (span, place),
                LATERAL (SELECT span ->> 'from' COLLATE "C" AS low, span ->> 'to' COLLATE "C" AS high) AS days
            WHERE high >= '1971-01-01' AND low <= '2199-12-31')))
WHERE active AND rule_type = 'blackout_dates'
  AND rule_payload::text ~ '"(?!(197[1-9]|19[89]\d|2[01]\d\d)-)\d{4}-\d\d-\d\d"';

UPDATE service_rule SET active = false, version = version + 1, updated_at = clock_timestamp()
WHERE active AND (
    rule_payload IN ('{}', '{"no_same_day": false}')
    OR (rule_type = 'max_daily' AND NOT rule_payload ? 'max_per_day')
    OR (rule_type = 'min_gap' AND NOT rule_payload ? 'min_gap_minutes')
    OR (rule_type = 'blackout_dates'
        AND coalesce(rule_payload -> 'dates', '[]') = '[]' AND coalesce(rule_payload -> 'ranges', '[]') = '[]'));

ALTER TABLE service_rule ADD CONSTRAINT service_rule_payload_readable CHECK (
    NOT active OR NOT (
        rule_payload @? 'strict $.* ? (@ == null)'
        OR rule_payload IN ('{}', '{"no_same_day": false}')
        OR (rule_type = 'blackout_dates'
            AND rule_payload::text ~ '"(?!(197[1-9]|19[89]\d|2[01]\d\d)-)\d{4}-\d\d-\d\d"'))) NOT VALID;
ALTER TABLE service_rule VALIDATE CONSTRAINT service_rule_payload_readable;
