"""What is taken: claims of resources in a stretch of time, and one patient's visits, as `scheduling.facts`.

Reads go by plain `starts_at` and `ends_at`: under row-level security range operators never use an index.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from scheduling.appointment import AppointmentStatus
from scheduling.clock import exact_minutes_of, instant_of
from scheduling.facts import Claim, PatientFacts, PatientVisit

_MINUTES: Final = "(extract(epoch FROM {})::bigint / 60)::integer"

_LENGTH_MAX: Final = (
    "interval '72 hours'"  # claim_bounded: a claim that reaches a minute began at most so long before
)

CLAIMS_SQL: Final = f"""
SELECT c.resource_id::text, c.unit, {_MINUTES.format("c.starts_at")}, {_MINUTES.format("c.ends_at")},
       c.appointment_id::text, extract(epoch FROM c.expires_at)::float8 / 60
FROM claim c
WHERE c.clinic_id = %(clinic_id)s::uuid AND c.resource_id = ANY (%(resource_ids)s::uuid[])
  AND c.starts_at > %(start)s::timestamptz - {_LENGTH_MAX}
  AND c.starts_at < %(end)s::timestamptz AND c.ends_at > %(start)s::timestamptz
"""  # noqa: S608 - made of constants
"""The claims of some resources that touch `[start, end)`, expired ones included, in no order.

Parameters: `clinic_id`, `resource_ids` (uuid[]), `start`, `end` (see `claims_parameters`).
"""

VERSIONED_CLAIMS_SQL: Final = f"""
SELECT wanted.resource_id::text, wanted.first_min, wanted.version, c.unit,
       {_MINUTES.format("c.starts_at")}, {_MINUTES.format("c.ends_at")}, c.appointment_id::text,
       extract(epoch FROM c.expires_at)::float8 / 60, wanted.lock_id::text
FROM (
    SELECT asked.resource_id, asked.lock_id, asked.first_min,
           to_timestamp(asked.first_min * 60::float8) AS first, to_timestamp(asked.end_min * 60::float8) AS "end",
           coalesce((SELECT r.calendar_version FROM resource r
                     WHERE r.clinic_id = %(clinic_id)s::uuid AND r.id = asked.lock_id), 0) AS version
    FROM unnest(%(resource_ids)s::uuid[], %(lock_ids)s::uuid[], %(firsts)s::integer[], %(ends)s::integer[])
         AS asked (resource_id, lock_id, first_min, end_min)
    OFFSET 0
) AS wanted
LEFT JOIN LATERAL (
    SELECT held.unit, held.starts_at, held.ends_at, held.appointment_id, held.expires_at
    FROM claim held
    WHERE held.clinic_id = %(clinic_id)s::uuid AND held.resource_id = wanted.resource_id
      AND held.starts_at > wanted.first - {_LENGTH_MAX}
      AND held.starts_at < wanted."end" AND held.ends_at > wanted.first
    OFFSET 0
) AS c ON true
"""  # noqa: S608 - made of constants
"""Stretches of resources' calendars with the version each calendar had, all in one snapshot.

Parameters: `clinic_id` and four arrays of equal length: what to read, the resource row whose version
fences it (a gap's is its provider's), and the stretch in minutes since the epoch. One row a claim, and one
row with NULL claim columns for a stretch without any. Each OFFSET 0 keeps the planner from turning the stretches
round into one read of all the clinic's claims, which it finds cheap as long as it believes the table to be small.
"""

PATIENT_SQL: Final = """
SELECT p.placeholder, v.id::text, v.service_id::text, v.start_ts_utc, v.end_ts_utc, v.status, v.expires_at
FROM patient p
LEFT JOIN appointment v ON v.clinic_id = p.clinic_id AND v.patient_id = p.id
    AND v.start_ts_utc > %(since)s::timestamptz
    AND v.status NOT IN ('canceled', 'released', 'expired', 'no_show')
WHERE p.clinic_id = %(clinic_id)s::uuid AND p.id = %(patient_id)s::uuid AND p.active
"""
"""The patient's visits that start after `since`; no row at all when the clinic has no such active patient."""

PATIENT_ALONE_SQL: Final = """
SELECT p.placeholder, NULL FROM patient p
WHERE p.clinic_id = %(clinic_id)s::uuid AND p.id = %(patient_id)s::uuid AND p.active
"""
"""The same without visits, for proposals that no rule compares with others: planning it looks at no partition."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of one resource's calendar: `[start_min, end_min)`, fenced by the version of the row `lock_id`."""

    resource_id: str
    start_min: int
    end_min: int
    lock_id: str = ""


@dataclass(frozen=True, slots=True)
class VersionedClaims:
    """The claims of a stretch, and its calendar's version when they were read: it has all changes so far."""

    version: int
    claims: tuple[Claim, ...]


def claims_parameters(
    clinic_id: str, resource_ids: Iterable[str], start_min: int, end_min: int
) -> dict[str, object]:
    """Return the parameters of CLAIMS_SQL for the minutes `[start_min, end_min)` since the epoch."""
    return {
        "clinic_id": clinic_id,
        "resource_ids": list(resource_ids),
        "start": instant_of(start_min),
        "end": instant_of(end_min),
    }


def build_claims(rows: Iterable[Sequence[Any]]) -> list[Claim]:
    """Return the claims of CLAIMS_SQL's rows."""
    return [Claim(*row) for row in rows]


def stretches_parameters(clinic_id: str, stretches: Sequence[Stretch]) -> dict[str, object]:
    """Return the parameters of VERSIONED_CLAIMS_SQL."""
    return {
        "clinic_id": clinic_id,
        "resource_ids": [stretch.resource_id for stretch in stretches],
        "lock_ids": [stretch.lock_id or stretch.resource_id for stretch in stretches],
        "firsts": [stretch.start_min for stretch in stretches],
        "ends": [stretch.end_min for stretch in stretches],
    }


def build_stretches(
    stretches: Sequence[Stretch], rows: Iterable[Sequence[Any]]
) -> dict[Stretch, VersionedClaims]:
    """Return what VERSIONED_CLAIMS_SQL's rows say of each stretch."""
    versions: dict[tuple[str, int], int] = {}
    found: dict[tuple[str, int], list[Claim]] = {}
    for resource_id, first_min, version, unit, start_min, end_min, appointment_id, expires_min, _lock in rows:
        key = (resource_id, first_min)
        versions[key] = version
        if unit is not None:
            claim = Claim(resource_id, unit, start_min, end_min, appointment_id, expires_min)
            found.setdefault(key, []).append(claim)
    keys = [(stretch, (stretch.resource_id, stretch.start_min)) for stretch in stretches]
    return {stretch: VersionedClaims(versions[key], tuple(found.get(key, ()))) for stretch, key in keys}


def patient_parameters(clinic_id: str, patient_id: str, since_min: int) -> dict[str, object]:
    """Return the parameters of PATIENT_SQL."""
    return {"clinic_id": clinic_id, "patient_id": patient_id, "since": instant_of(since_min)}


def build_patient(patient_id: str, rows: Sequence[Sequence[Any]]) -> PatientFacts | None:
    """Return the patient's facts, or None when the clinic has no such patient."""
    if not rows:
        return None
    visits = tuple(_visit(row[1:]) for row in rows if row[1] is not None)
    return PatientFacts(id=patient_id, visits=visits, is_placeholder=rows[0][0])


@dataclass(slots=True)
class PatientBook:
    """A patient of a clinic with the visits that are known, to which more may be added."""

    is_placeholder: bool
    active: bool
    visits: list[PatientVisit]


def build_patients(
    patients: Iterable[Sequence[Any]], visits: Iterable[Sequence[Any]]
) -> dict[str, PatientBook]:
    """Return patients by id, of rows (id, placeholder, active), and their visits, of rows that begin with its id."""
    found = {patient_id: PatientBook(placeholder, active, []) for patient_id, placeholder, active in patients}
    for patient_id, *row in visits:
        if patient_id in found:
            found[patient_id].visits.append(_visit(row))
    return found


def _visit(row: Sequence[Any]) -> PatientVisit:
    visit_id, service_id, start, end, status, expires_at = row
    return PatientVisit(
        appointment_id=visit_id,
        service_id=service_id,
        start_min=int(exact_minutes_of(start)),
        end_min=int(exact_minutes_of(end)),
        status=AppointmentStatus(status),
        expires_min=_minutes_or_none(expires_at) if status == AppointmentStatus.HELD else None,
    )


def _minutes_or_none(instant: datetime | None) -> float | None:
    return None if instant is None else exact_minutes_of(instant)
