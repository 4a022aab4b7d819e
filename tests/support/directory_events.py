"""Made-up events of a clinic's directory."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from medforall.events.v1 import events_pb2 as events

from tests.support.realtime import Clinic, new_id

_directory_versions = itertools.count(1)


def directory_event(clinic: Clinic, kind: str, **fields: Any) -> events.Event:
    """Something that the clinic set up changed."""
    event = events.Event(
        event_id=new_id(),
        clinic_id=clinic.id,
        aggregate_type="directory",
        aggregate_id=str(uuid.uuid4()),
        aggregate_version=next(_directory_versions),
        type="directory.changed",
    )
    event.occurred_at.GetCurrentTime()
    event.directory.CopyFrom(
        events.DirectoryChanged(kind=kind, id=event.aggregate_id, change="updated", **fields)
    )
    return event
