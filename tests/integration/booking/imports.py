"""Imports of visits in tests: what is asked for, what became of it, and what it has left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from medforall.events.v1 import events_pb2

from ctl.transfer.importing import Report
from tests.integration.booking.conftest import Suite
from tests.support.importing import Entry, import_visits, keys_of
from tests.support.practice import Practice, new_id

_ROWS = {
    "appointment": "to_jsonb(t) - '{created_at,updated_at,created_by,notes_encrypted,override_reason_encrypted,"
    "override_by}'::text[] || jsonb_build_object('has_notes', notes_encrypted IS NOT NULL,"
    " 'is_overridden', override_reason_encrypted IS NOT NULL)",
    "appointment_ref": "to_jsonb(t)",
    "appointment_equipment": "to_jsonb(t)",
    "claim": "to_jsonb(t)",
    "resource": "to_jsonb(t) - 'created_at'",
    "audit_event": "to_jsonb(t) - '{id,at,actor,actor_role,request_id,from_address}'::text[] #- '{after,override,by}'",
}


def rows_of(practice: Practice) -> dict[str, list[str]]:
    """What the clinic's visits have left, but for ids of their own, times of writing, and who wrote it."""
    with psycopg.connect(practice.owner_url) as owner:
        found = {
            table: [
                row[0]
                for row in owner.execute(
                    f"SELECT ({shown})::text FROM {table} t WHERE clinic_id = %s ORDER BY 1".encode(),
                    (practice.clinic,),
                )
            ]
            for table, shown in _ROWS.items()
        }
        told = owner.execute(
            "SELECT payload, event_type, aggregate_version FROM outbox_event WHERE clinic_id = %s ORDER BY id",
            (practice.clinic,),
        ).fetchall()
    found["outbox_event"] = [
        f"{event_type} {version} {_event(payload)}" for payload, event_type, version in told
    ]
    return found


def _event(payload: bytes) -> events_pb2.Event:
    event = events_pb2.Event.FromString(payload)
    event.event_id = event.traceparent = ""
    event.ClearField("occurred_at")
    return event


def wipe_visits(practice: Practice) -> None:
    """Take away all that bookings have left in the clinic."""
    with psycopg.connect(practice.owner_url) as owner:
        owner.execute("SET session_replication_role = replica")
        for table in ("claim", "appointment_equipment", "appointment", "appointment_ref", "outbox_event"):
            owner.execute(f"DELETE FROM {table} WHERE clinic_id = %s".encode(), (practice.clinic,))
        owner.execute("DELETE FROM audit_event WHERE clinic_id = %s", (practice.clinic,))
        owner.execute("DELETE FROM audit_seal WHERE clinic_id = %s", (practice.clinic,))
        owner.execute("DELETE FROM resource WHERE clinic_id = %s AND kind = 'quota'", (practice.clinic,))
        owner.execute("UPDATE resource SET calendar_version = 0 WHERE clinic_id = %s", (practice.clinic,))


async def imported(
    suite: Suite, practice: Practice, wanted: Sequence[Entry], *, dry_run: bool = False
) -> Report:
    keys = keys_of(suite.keys.master)
    return await import_visits(practice.owner_url, practice.clinic, keys, wanted, dry_run=dry_run)


def visit(practice: Practice, start: str, *, patient: int = 0, **fields: Any) -> dict[str, str]:
    """An entry of the practice's first service, provider and location unless told otherwise."""
    return {
        "id": new_id(),
        "location_id": practice.location,
        "provider_id": practice.provider,
        "service_id": practice.service,
        "patient_id": practice.patients[patient],
        "start": start,
    } | fields


def told(report: Report) -> list[str]:
    return [str(fault).partition("visits.yaml:")[2] for fault in report.refused]


def versions_told(practice: Practice) -> list[tuple[str, int]]:
    """The calendar versions that each of the clinic's events tells, by lock."""
    with psycopg.connect(practice.owner_url) as owner:
        payloads = owner.execute(
            "SELECT payload FROM outbox_event WHERE clinic_id = %s ORDER BY id", (practice.clinic,)
        ).fetchall()
    events = [events_pb2.Event.FromString(payload) for (payload,) in payloads]
    return [
        told_version
        for event in events
        for told_version in sorted(
            {(found.lock_id or found.resource_id, found.calendar_version) for found in event.resources}
        )
    ]
