"""Where an event is published."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from medforall.events.v1 import events_pb2

from booking_svc.outbox.queue import OutboxEvent

_DIRECTORY = "directory"
_UNKNOWN = "unknown"


def subject_of(event: OutboxEvent) -> str:
    """Return `medforall.appointment.<clinic>.<created|…|hold_created|…>` or `medforall.directory.<clinic>.<kind>`."""
    return f"medforall.{_tail(event)}"


def republish_subject_of(event: OutboxEvent) -> str:
    """Return the subject on which only projectors hear it again."""
    aggregate, clinic_id, what = _tail(event).split(".", 2)
    return f"medforall.republish.{clinic_id}.{aggregate}.{what}"


def _tail(event: OutboxEvent) -> str:
    if event.aggregate_type == _DIRECTORY:
        kind = _kind_of(event)
        return f"{_DIRECTORY}.{event.clinic_id}.{kind}"
    what = event.event_type.removeprefix("appointment.").replace(".", "_")
    return f"appointment.{event.clinic_id}.{what}"


def _kind_of(event: OutboxEvent) -> str:
    """What kind of entry a directory event speaks of; one that cannot be read is `unknown` and holds up nobody."""
    try:
        return events_pb2.Event.FromString(event.payload).directory.kind or _UNKNOWN
    except DecodeError:
        return _UNKNOWN
