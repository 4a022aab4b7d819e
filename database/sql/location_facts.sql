-- One location's facts as one JSON document; database/location_facts.py reads it.
-- Windows and closures that ended long ago matter to nobody: nothing starts more than 7 days in the past.
WITH place AS (
    SELECT l.clinic_id, l.id, l.name, l.active, coalesce(l.timezone, c.default_timezone) AS zone,
           c.status, c.public_search, now() AT TIME ZONE 'UTC' - interval '40 days' AS oldest
    FROM location l JOIN clinic c ON c.id = l.clinic_id
    WHERE l.clinic_id = %(clinic_id)s::uuid AND l.id = %(location_id)s::uuid
), here AS (
    SELECT p.* FROM provider p, place
    WHERE p.clinic_id = place.clinic_id
      AND (%(provider_ids)s::uuid[] IS NULL OR p.id = ANY (%(provider_ids)s::uuid[]))
      AND (p.location_id = place.id OR EXISTS (
            SELECT FROM provider_availability w
            WHERE w.clinic_id = p.clinic_id AND w.provider_id = p.id AND w.active
              AND (w.location_id IS NULL OR w.location_id = place.id)))
)
SELECT json_build_object(
    'location', json_build_array(place.id, place.zone, place.name, place.active),
    'clinic', json_build_array(place.status, place.public_search),
    'hours', (SELECT json_agg(json_build_array(h.weekday, h.opens_min, h.closes_min) ORDER BY h.weekday, h.opens_min)
        FROM location_hours h WHERE h.clinic_id = place.clinic_id AND h.location_id = place.id),
    'closures', (SELECT json_agg(json_build_array(x.start_local, x.end_local) ORDER BY x.start_local, x.id)
        FROM closure x WHERE x.clinic_id = place.clinic_id AND x.active AND x.end_local > place.oldest
          AND (x.location_id IS NULL OR x.location_id = place.id)),
    'services', (SELECT json_agg(json_build_array(s.id, s.default_duration_min, s.min_duration_min, s.max_duration_min,
            s.buffer_before_min, s.buffer_after_min, s.slot_step_min, s.requires_room, s.buffers_within_hours,
            s.allow_patient_overlap, s.active) ORDER BY s.id)
        FROM service s WHERE s.clinic_id = place.clinic_id
          AND (%(service_id)s::uuid IS NULL OR s.id = %(service_id)s::uuid)),
    'rules', (SELECT json_agg(json_build_array(r.id, r.rule_type, r.rule_payload, r.service_id, r.provider_id, r.priority)
            ORDER BY r.id)
        FROM service_rule r WHERE r.clinic_id = place.clinic_id AND r.active
          AND (%(service_id)s::uuid IS NULL OR r.service_id IS NULL OR r.service_id = %(service_id)s::uuid)),
    'providers', (SELECT json_agg(json_build_array(p.id, p.name, p.specialty, p.active) ORDER BY p.id) FROM here p),
    'provider_windows', (SELECT json_agg(json_build_array(w.provider_id, w.id, w.kind, w.start_local, w.end_local,
            w.location_id, w.recurrence_rule) ORDER BY w.id)
        FROM provider_availability w JOIN here p ON p.clinic_id = w.clinic_id AND p.id = w.provider_id
        WHERE w.active AND (w.recurrence_rule IS NOT NULL OR w.end_local > place.oldest)),
    'preferences', (SELECT json_agg(json_build_array(f.provider_id, f.weight, f.service_id, f.preferred_room_ids,
            f.preferred_equipment_type, f.preferred_time_windows) ORDER BY f.id)
        FROM provider_preference f JOIN here p ON p.clinic_id = f.clinic_id AND p.id = f.provider_id
        WHERE f.active),
    'rooms', (SELECT json_agg(json_build_array(m.id, m.name, m.room_type, m.concurrent_visits, m.turnaround_min,
            m.active) ORDER BY m.id)
        FROM room m WHERE m.clinic_id = place.clinic_id AND m.location_id = place.id),
    'room_windows', (SELECT json_agg(json_build_array(w.room_id, w.id, w.kind, w.start_local, w.end_local, NULL,
            w.recurrence_rule) ORDER BY w.id)
        FROM room_availability w JOIN room m ON m.clinic_id = w.clinic_id AND m.id = w.room_id
        WHERE w.clinic_id = place.clinic_id AND m.location_id = place.id AND w.active
          AND (w.recurrence_rule IS NOT NULL OR w.end_local > place.oldest)),
    'equipment', (SELECT json_agg(json_build_array(e.id, e.type, e.quantity, e.turnaround_min, e.location_id, e.active)
            ORDER BY e.id)
        FROM equipment e WHERE e.clinic_id = place.clinic_id
          AND (e.location_id IS NULL OR e.location_id = place.id)),
    'equipment_windows', (SELECT json_agg(json_build_array(w.equipment_id, w.id, w.kind, w.start_local, w.end_local,
            NULL, w.recurrence_rule) ORDER BY w.id)
        FROM equipment_availability w JOIN equipment e ON e.clinic_id = w.clinic_id AND e.id = w.equipment_id
        WHERE w.clinic_id = place.clinic_id AND (e.location_id IS NULL OR e.location_id = place.id) AND w.active
          AND (w.recurrence_rule IS NOT NULL OR w.end_local > place.oldest))
)::text
FROM place
