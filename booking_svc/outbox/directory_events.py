"""From a change of the directory to the event that leaves with it: ids only."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from medforall.events.v1 import events_pb2

from booking_svc.directory.entities import Entry
from booking_svc.directory.reach import Reach

AGGREGATE = "directory"
EVENT_TYPE = "directory.changed"


def directory_event_bytes(
    entry: Entry,
    change: str,
    *,
    event_id: str,
    occurred_at: datetime,
    reach: Reach,
    resource_id: str = "",
    traceparent: str | None = None,
) -> bytes:
    """Return the serialized event of a created, updated or deactivated entry."""
    return events_pb2.Event(
        event_id=event_id,
        clinic_id=entry.clinic_id,
        aggregate_type=AGGREGATE,
        aggregate_id=entry.id,
        aggregate_version=entry.version,
        type=EVENT_TYPE,
        occurred_at=_timestamp(occurred_at),
        traceparent=traceparent or "",
        directory=events_pb2.DirectoryChanged(
            kind=entry.kind.value,
            id=entry.id,
            change=change,
            location_ids=reach.location_ids,
            resource_id=resource_id,
            affects_from=_timestamp(reach.first) if reach.first else None,
            affects_to=_timestamp(reach.end) if reach.end else None,
            provider_id=reach.provider_id,
        ),
    ).SerializeToString()


def _timestamp(instant: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp
