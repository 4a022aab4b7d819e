"""Many visits at once: what is read before they are judged, and their rows, each table's in one statement.

Values travel as arrays that the server takes apart again. Instants are whole minutes since the epoch, bytes are hex
words, and a list inside of a row is one word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from booking_svc.model import Appointment, Caller, HeldClaim, Traces
from booking_svc.store import rows, statements
from booking_svc.store.session import Reply, Session
from database.busy_facts import PatientBook, build_patients
from database.pipeline import Statement
from scheduling.clock import minutes_of

# Whoever changes what a clinic's visits claim locks these first, in the same order.
_LOCK_ALL: Final = Statement(
    "lock_all_resources",
    """
    WITH locked AS (SELECT id FROM resource WHERE clinic_id = $1 ORDER BY id FOR NO KEY UPDATE)
    SELECT count(*) FROM locked
    """,
)
# As each booking does, so that none of them is put out of use until the transaction ends.
_READ_PATIENTS: Final = Statement(
    "read_many_patients_to_book",
    """
    SELECT id::text, placeholder, active FROM patient WHERE clinic_id = $1 AND id = ANY ($2::uuid[])
    ORDER BY id FOR KEY SHARE
    """,
)
_READ_PATIENTS_VISITS: Final = Statement(
    "read_many_patients_visits",
    """
    SELECT v.patient_id::text, v.id::text, v.service_id::text, v.start_ts_utc, v.end_ts_utc, v.status, v.expires_at
    FROM unnest($2::uuid[], $3::integer[]) AS asked (patient_id, since_min)
    JOIN appointment v ON v.clinic_id = $1 AND v.patient_id = asked.patient_id
        AND v.start_ts_utc > to_timestamp(asked.since_min * 60.0)
        AND v.status NOT IN ('canceled', 'released', 'expired', 'no_show')
    """,
)
_READ_REFERENCES: Final = Statement(
    "read_many_references",
    "SELECT id::text, start_ts_utc FROM appointment_ref WHERE clinic_id = $1 AND id = ANY ($2::uuid[])",
)
# Ids are a clinic's own, but the key of the rows is not. Each is looked for in its month alone, by that key: LIMIT
# keeps the planner from joining the months as a whole.
_READ_ELSEWHERE: Final = Statement(
    "read_many_elsewhere",
    """
    SELECT v.id::text FROM unnest($2::uuid[], $3::integer[]) AS v (id, start_min)
    CROSS JOIN LATERAL (
        SELECT FROM appointment a
        WHERE a.id = v.id AND a.start_ts_utc = to_timestamp(v.start_min * 60.0) AND a.clinic_id <> $1 LIMIT 1
    ) AS other
    """,
)
_RAISE_VERSIONS: Final = Statement(
    "raise_many_versions",
    """
    UPDATE resource r SET calendar_version = raised.version
    FROM unnest($2::uuid[], $3::bigint[]) AS raised (id, version)
    WHERE r.clinic_id = $1 AND r.id = raised.id
    """,
)
_INSERT_REFERENCES: Final = Statement(
    "insert_many_references",
    """
    INSERT INTO appointment_ref (clinic_id, id, start_ts_utc)
    SELECT $1, v.id, to_timestamp(v.start_min * 60.0) FROM unnest($2::uuid[], $3::integer[]) AS v (id, start_min)
    ORDER BY v.id
    """,
)
# Neighbours land on the same pages.
_INSERT_VISITS: Final = Statement(
    "insert_many_appointments",
    """
    INSERT INTO appointment (clinic_id, id, location_id, patient_id, provider_id, room_id, service_id, start_ts_utc,
        end_ts_utc, status, room_selection_mode, buffer_before_min, buffer_after_min, notes_encrypted,
        override_reason_encrypted, override_by, overridden_rules, created_by, created_at, updated_at)
    SELECT $1, v.id, v.location_id, v.patient_id, v.provider_id, v.room_id, v.service_id,
        to_timestamp(v.start_min * 60.0), to_timestamp(v.end_min * 60.0), v.status, v.room_mode, v.buffer_before,
        v.buffer_after, decode(v.notes, 'hex'), decode(v.override_reason, 'hex'), v.override_by,
        string_to_array(v.rules, ','), $2, $3::timestamptz, $3::timestamptz
    FROM unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[], $10::integer[],
            $11::integer[], $12::text[], $13::text[], $14::integer[], $15::integer[], $16::text[], $17::text[],
            $18::text[], $19::text[])
        AS v (id, location_id, patient_id, provider_id, room_id, service_id, start_min, end_min, status, room_mode,
            buffer_before, buffer_after, notes, override_reason, override_by, rules)
    ORDER BY v.start_min, v.id
    """,
)
_INSERT_EQUIPMENT: Final = Statement(
    "insert_many_equipment",
    """
    INSERT INTO appointment_equipment (clinic_id, appointment_id, equipment_id, units)
    SELECT $1, used.appointment_id, used.equipment_id, array_agg(used.unit ORDER BY used.unit)
    FROM unnest($2::uuid[], $3::uuid[], $4::integer[]) AS used (appointment_id, equipment_id, unit)
    GROUP BY used.appointment_id, used.equipment_id
    """,
)
# All of them or an error: what was judged under the locks is free.
_INSERT_CLAIMS: Final = Statement(
    "insert_claims_of_many",
    """
    INSERT INTO claim (clinic_id, resource_id, unit, during, starts_at, ends_at, appointment_id)
    SELECT $1, wanted.resource_id, wanted.unit, tstzrange(wanted.starts_at, wanted.ends_at, '[)'), wanted.starts_at,
        wanted.ends_at, wanted.appointment_id
    FROM (SELECT resource_id, unit, to_timestamp(start_min * 60.0), to_timestamp(end_min * 60.0), appointment_id
          FROM unnest($2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::uuid[])
              AS w (resource_id, unit, start_min, end_min, appointment_id)
         ) AS wanted (resource_id, unit, starts_at, ends_at, appointment_id)
    ORDER BY wanted.resource_id, wanted.unit, wanted.starts_at
    """,
)
_INSERT_EVENTS: Final = Statement(
    "insert_many_events",
    """
    INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version, event_type, payload,
        traceparent)
    SELECT e.event_id, $1, 'appointment', e.visit_id, 1, $2, decode(e.payload, 'hex'), $3
    FROM unnest($4::uuid[], $5::uuid[], $6::text[]) WITH ORDINALITY AS e (event_id, visit_id, payload, place)
    ORDER BY e.place
    """,
)
_INSERT_AUDITS: Final = Statement(
    "insert_many_audits",
    """
    INSERT INTO audit_event (clinic_id, id, actor, actor_role, action, entity_type, entity_id, outcome, from_address,
        request_id, after)
    SELECT $1, a.id, $2, $3, $4, 'appointment', a.visit_id, 'done', $5::inet, $6, a.after::jsonb
    FROM unnest($7::uuid[], $8::uuid[], $9::text[]) WITH ORDINALITY AS a (id, visit_id, after, place)
    ORDER BY a.place
    """,
)


@dataclass(frozen=True, slots=True)
class NewVisit:
    """A visit to write, what it claims, and what it leaves: its event and its audit row.

    `versions` are the calendar versions that it raises resources to, `quotas` the days' quotas it claims.
    """

    visit: Appointment
    claims: tuple[HeldClaim, ...]
    versions: Mapping[str, int]
    quotas: Sequence[tuple[str, date]]
    traces: Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVisits:
    """Visits that are written at once, under one caller and at one moment.

    `versions` are the last calendar versions of all resources that they raise, `quotas` the days' quotas they claim.
    """

    caller: Caller
    action: str
    visits: Sequence[NewVisit]
    versions: Mapping[str, int]
    quotas: Sequence[tuple[str, date]]


class ManyVisits:
    """Reads and writes in a session that is open."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clinic_id = session.clinic_id

    def lock_all_resources(self) -> None:
        """Let nobody change what visits of the clinic claim until the transaction ends."""
        self._session.queue(_LOCK_ALL, self._clinic_id)

    def patients(self, patient_ids: Sequence[str], since: Mapping[str, int]) -> Reply[dict[str, PatientBook]]:
        """The patients that are there, kept in use; those in `since` with their visits that start after it."""
        found = self._session.queue(_READ_PATIENTS, self._clinic_id, list(patient_ids))
        visits = self._session.queue(
            _READ_PATIENTS_VISITS, self._clinic_id, list(since), list(since.values())
        )
        return Reply(visits, lambda done: build_patients(found.rows(), done.rows()))

    def there(self, visit_ids: Sequence[str]) -> Reply[dict[str, Appointment]]:
        """Those of the visits that the clinic has, by id."""
        cipher = self._session.cipher
        pending = self._session.queue(statements.READ_APPOINTMENTS, self._clinic_id, list(visit_ids))
        return Reply(
            pending,
            lambda done: {
                visit.id: visit for visit in (rows.appointment_of(row, cipher) for row in done.rows())
            },
        )

    def references(self, visit_ids: Sequence[str]) -> Reply[dict[str, int]]:
        """When those of the visits start that the clinic knows by id, their rows in archived months included."""
        pending = self._session.queue(_READ_REFERENCES, self._clinic_id, list(visit_ids))
        return Reply(pending, lambda done: {id_: minutes_of(start) for id_, start in done.rows()})

    def elsewhere(self, starts: Mapping[str, int]) -> Reply[frozenset[str]]:
        """Those of the ids that cannot be written at their starts: another clinic has them. Nobody is to be told."""
        ids, start_mins = list(starts), list(starts.values())
        pending = self._session.queue(_READ_ELSEWHERE, self._clinic_id, ids, start_mins)
        return Reply(pending, lambda done: frozenset(id_ for (id_,) in done.rows()))

    def queue(self, new: NewVisits) -> None:
        """Queue every row; the run raises IntegrityError for one that breaks a constraint."""
        if not new.visits:
            return
        session = self._session
        if new.quotas:
            session.ensure_quotas(new.quotas)
        if new.versions:
            session.queue(_RAISE_VERSIONS, self._clinic_id, list(new.versions), list(new.versions.values()))
        visits = [one.visit for one in new.visits]
        starts = [visit.start_min for visit in visits]
        session.queue(_INSERT_REFERENCES, self._clinic_id, [visit.id for visit in visits], starts)
        self._queue_visits(visits)
        self._queue_equipment(visits)
        self._queue_claims(new.visits)
        self._queue_records(new)

    def _queue_visits(self, visits: Sequence[Appointment]) -> None:
        first, cipher = visits[0], self._session.cipher
        columns = _columns(rows.new_visit_values(visit, cipher) for visit in visits)
        written = first.created_at.isoformat()
        self._session.queue(_INSERT_VISITS, self._clinic_id, first.created_by, written, *columns)

    def _queue_equipment(self, visits: Sequence[Appointment]) -> None:
        used = [
            (visit.id, use.equipment_id, unit)
            for visit in visits
            for use in visit.equipment
            for unit in use.units
        ]
        if used:
            self._session.queue(_INSERT_EQUIPMENT, self._clinic_id, *_columns(used))

    def _queue_claims(self, visits: Sequence[NewVisit]) -> None:
        claims = [
            (claim.resource_id, claim.unit, claim.start_min, claim.end_min, one.visit.id)
            for one in visits
            for claim in one.claims
        ]
        if claims:
            self._session.queue(_INSERT_CLAIMS, self._clinic_id, *_columns(claims))

    def _queue_records(self, new: NewVisits) -> None:
        caller, ids = new.caller, [one.visit.id for one in new.visits]
        traces = [one.traces for one in new.visits]
        self._session.queue(
            _INSERT_EVENTS, self._clinic_id, new.action, caller.traceparent, [one.event_id for one in traces], ids,
            [one.payload.hex() for one in traces],
        )  # fmt: skip
        self._session.queue(
            _INSERT_AUDITS, self._clinic_id, caller.principal.subject, caller.principal.role.value, new.action,
            caller.address, caller.request_id, [one.audit_id for one in traces], ids, [one.after for one in traces],
        )  # fmt: skip


def _columns(found: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*found, strict=True)]
