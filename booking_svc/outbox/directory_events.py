"""From a change of the directory to the event that leaves with it: ids only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from medforall.events.v1 import events_pb2

from booking_svc.directory.entities import Entry

AGGREGATE = "directory"
EVENT_TYPE = "directory.changed"


def directory_event_bytes(
    entry: Entry,
    change: str,
    *,
    event_id: str,
    occurred_at: datetime,
    location_ids: Sequence[str],
    resource_id: str = "",
    traceparent: str | None = None,
) -> bytes:
    """Return the serialized event of a created, updated or deactivated entry.

    No `location_ids` means that every location of the clinic may be touched.
    """
    stamp = Timestamp()
    stamp.FromDatetime(occurred_at)
    return events_pb2.Event(
        event_id=event_id,
        clinic_id=entry.clinic_id,
        aggregate_type=AGGREGATE,
        aggregate_id=entry.id,
        aggregate_version=entry.version,
        type=EVENT_TYPE,
        occurred_at=stamp,
        traceparent=traceparent or "",
        directory=events_pb2.DirectoryChanged(
            kind=entry.kind.value,
            id=entry.id,
            change=change,
            location_ids=location_ids,
            resource_id=resource_id,
        ),
    ).SerializeToString()
