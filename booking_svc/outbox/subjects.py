"""Where an event is published."""

from __future__ import annotations

from medforall.events.v1 import events_pb2

from booking_svc.outbox.queue import OutboxEvent

_DIRECTORY = "directory"


def subject_of(event: OutboxEvent) -> str:
    """Return `medforall.appointment.<clinic>.<created|…|hold_created|…>` or `medforall.directory.<clinic>.<kind>`."""
    return f"medforall.{_tail(event)}"


def republish_subject_of(event: OutboxEvent) -> str:
    """Return the subject on which only projectors hear it again."""
    aggregate, clinic_id, what = _tail(event).split(".", 2)
    return f"medforall.republish.{clinic_id}.{aggregate}.{what}"


def _tail(event: OutboxEvent) -> str:
    if event.aggregate_type == _DIRECTORY:
        kind = events_pb2.Event.FromString(event.payload).directory.kind
        return f"{_DIRECTORY}.{event.clinic_id}.{kind}"
    what = event.event_type.removeprefix("appointment.").replace(".", "_")
    return f"appointment.{event.clinic_id}.{what}"
