"""Every change leaves an event and an audit row in its own transaction."""

from __future__ import annotations

from datetime import datetime

import orjson

from booking_svc.model import Appointment, Caller, Change, Outcome, Traces
from booking_svc.outbox.events import event_bytes
from booking_svc.store.session import Session
from scheduling import consistency
from scheduling.clock import instant_of
from scheduling.ids import NewId


class Recorder:
    """Writes what follows from a change."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id

    def traces(self, caller: Caller, change: Change, now: datetime) -> Traces:
        """What follows from a change, for whoever writes many at once."""
        event_id = self._new_id()
        payload = event_bytes(change, event_id, now, caller.traceparent)
        before, after = _audited(change.before), _audited(change.after)
        return Traces(event_id, payload, self._new_id(), before, after)

    def record(self, session: Session, caller: Caller, change: Change, now: datetime) -> Outcome:
        """Queue the event and the audit row of a change; the outcome is what the caller is told."""
        visit = change.after
        session.insert_traces(caller, visit, change.event_type, self.traces(caller, change, now))
        return Outcome(appointment=visit, consistency_token=consistency.encode(change.versions))


def _audited(visit: Appointment | None) -> str | None:
    """What the audit keeps of an appointment: ids, times and states, nothing that was said."""
    if visit is None:
        return None
    kept: dict[str, object] = {
        "status": visit.status.value,
        "version": visit.version,
        "start": instant_of(visit.start_min).isoformat(),
        "end": instant_of(visit.end_min).isoformat(),
        "locationId": visit.location_id,
        "providerId": visit.provider_id,
        "patientId": visit.patient_id,
        "roomId": visit.room_id,
        "serviceId": visit.service_id,
    }
    if visit.override is not None:
        kept["override"] = {"by": visit.override.by, "rules": list(visit.override.rules)}
    return orjson.dumps(kept).decode()
