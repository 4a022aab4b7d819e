"""Asks what must be known of places to tell the reach of a change."""

from __future__ import annotations

from collections.abc import Sequence

from booking_svc.directory.reach import OF_A_TIME, Change, Reach, reach_of
from booking_svc.store import directory_statements as sql
from booking_svc.store.session import Session


async def reaches_of(session: Session, changes: Sequence[Change]) -> list[Reach]:
    """The reach of each change; one round trip when one of them is of a time."""
    timed = [change for change in changes if change.entity.kind in OF_A_TIME]
    if not timed:
        return [reach_of(change, {}, {}) for change in changes]
    zones = session.queue(sql.READ_LOCATION_ZONES, session.clinic_id)
    resource_ids = sorted({change.entry.record.get("resource_id") or "" for change in timed} - {""})
    places = session.queue(sql.READ_RESOURCE_PLACES, session.clinic_id, resource_ids)
    await session.run()
    zone_of: dict[str, str] = dict(zones.rows())
    place_of: dict[str, str] = dict(places.rows())
    return [reach_of(change, zone_of, place_of) for change in changes]
