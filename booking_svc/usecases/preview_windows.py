"""What a window means over some local days, before it is saved. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from booking_svc.directory.checks import checked
from booking_svc.directory.entities import Record
from booking_svc.store import statements
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.session import Session
from booking_svc.usecases.edit_directory import check_references, require_location_column
from booking_svc.usecases.read_directory import window_entity_of
from scheduling import localtime, recurrence
from scheduling.errors import Invalid, NotFound

DAYS_MAX: Final = 366
OCCURRENCES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One expanded window in minutes since the epoch; `is_shifted` when a clock change moved or shortened it."""

    start_min: int
    end_min: int
    is_shifted: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """Occurrences by start, at most a thousand; `is_truncated` when there are more."""

    occurrences: tuple[Occurrence, ...]
    zone: str
    is_truncated: bool


async def preview_windows(
    session: Session, record: Record, *, location_id: str, start_date: str, end_date: str
) -> Preview:
    """Expand a window over local days, the last one included. Raises Invalid and NotFound."""
    entity = await window_entity_of(DirectoryStore(session), record["resource_id"])
    require_location_column(entity, record)
    window = checked(entity, record)
    await check_references(session, entity, window)
    first, last = _days(start_date, end_date)
    zone = await _zone(session, location_id or window.get("location_id", ""))
    found = list(_occurrences(window, zone, first, last))
    return Preview(tuple(found[:OCCURRENCES_MAX]), zone, len(found) > OCCURRENCES_MAX)


async def _zone(session: Session, location_id: str) -> str:
    pending = session.queue(statements.READ_ZONE, session.clinic_id, location_id or None)
    await session.run()
    row = pending.row()
    if row is None:
        raise NotFound("No such location.")
    return str(row[0])


def _days(start_date: str, end_date: str) -> tuple[date, date]:
    first = localtime.parse_date(start_date, "start_date")
    last = localtime.parse_date(end_date, "end_date")
    if last < first:
        raise Invalid.field("end_date", "must not be earlier than start_date")
    if (last - first).days >= DAYS_MAX:
        raise Invalid.field("end_date", f"must name a last day at most {DAYS_MAX - 1} days after start_date")
    return first, last


def _occurrences(window: Record, zone: str, first: date, last: date) -> Iterator[Occurrence]:
    """Occurrences that begin on the days; one more than are shown tells that there are more."""
    local_start = datetime.fromisoformat(window["start"])
    length = datetime.fromisoformat(window["end"]) - local_start
    low = datetime.combine(first, time.min)
    high = datetime.combine(last, time.min) + timedelta(days=1)
    starts = recurrence.starts_between(window.get("recurrence_rule") or "", local_start, low, high)
    for start in starts[: OCCURRENCES_MAX + 1]:
        walls = localtime.wall_minute(start), localtime.wall_minute(start + length)
        start_min, end_min = (localtime.instant_at(zone, wall) for wall in walls)
        if end_min > start_min:
            is_shifted = end_min - start_min != walls[1] - walls[0] or not localtime.exists(zone, walls[0])
            yield Occurrence(start_min, end_min, is_shifted)
