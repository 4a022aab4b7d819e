"""What a change of the directory says of where, whose and when availability may differ."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from booking_svc.directory.entities import (
    CLOSURE,
    PREFERENCE,
    PROVIDER_WINDOW,
    ROOM_WINDOW,
    SERVICE,
    SERVICE_RULE,
    Entity,
    Entry,
)
from booking_svc.directory.reach import EVERYWHERE, Change, Reach, reach_of

_ZONES = {"east": "America/New_York", "west": "America/Los_Angeles"}
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def entry(entity: Entity, **record: Any) -> Entry:
    return Entry(
        kind=entity.kind,
        clinic_id="clinic",
        id="entry",
        record=record,
        active=True,
        version=1,
        created_at=_NOW,
        updated_at=_NOW,
    )


def utc(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_a_closure_of_the_whole_clinic_lasts_from_its_first_to_its_last_zone() -> None:
    """Nine in New York is six in Los Angeles: the span covers the local day of both."""
    closed = entry(CLOSURE, location_id="", start="2026-02-20T09:00", end="2026-02-20T17:00")
    reach = reach_of(Change(CLOSURE, closed), _ZONES, {})
    assert reach == Reach(first=utc(2026, 2, 20, 14), end=utc(2026, 2, 21, 1))


def test_a_moved_entry_reaches_where_it_was_and_where_it_is() -> None:
    """Both locations and both times are told."""
    before = entry(CLOSURE, location_id="east", start="2026-02-20T09:00", end="2026-02-20T10:00")
    after = entry(CLOSURE, location_id="west", start="2026-02-22T09:00", end="2026-02-22T10:00")
    reach = reach_of(Change(CLOSURE, after, before), _ZONES, {})
    assert reach == Reach(
        location_ids=("east", "west"), first=utc(2026, 2, 20, 11 + 3), end=utc(2026, 2, 22, 18)
    )


def test_a_window_that_recurs_or_did_has_no_end() -> None:
    """It begins with its first occurrence; a rule that was taken away still concerns everything after."""
    span = {
        "resource_id": "doctor",
        "location_id": "east",
        "start": "2026-07-01T09:00",
        "end": "2026-07-01T10:00",
    }
    often, once = entry(PROVIDER_WINDOW, recurrence_rule="FREQ=DAILY", **span), entry(PROVIDER_WINDOW, **span)
    expected = Reach(location_ids=("east",), provider_id="doctor", first=utc(2026, 7, 1, 13))
    assert reach_of(Change(PROVIDER_WINDOW, often), _ZONES, {}) == expected
    assert reach_of(Change(PROVIDER_WINDOW, once, often), _ZONES, {}) == expected


def test_a_rooms_window_is_where_the_room_is_and_nobodys() -> None:
    """The room's location and its zone; no provider."""
    window = entry(ROOM_WINDOW, resource_id="room", start="2026-07-01T09:00", end="2026-07-01T10:00")
    reach = reach_of(Change(ROOM_WINDOW, window), _ZONES, {"room": "west"})
    assert reach == Reach(location_ids=("west",), first=utc(2026, 7, 1, 16), end=utc(2026, 7, 1, 17))


def test_what_is_of_no_place_or_time_is_open() -> None:
    """A service concerns all; a rule of one provider that one; without a location there is no zone to tell by."""
    assert reach_of(Change(SERVICE, entry(SERVICE)), {}, {}) == EVERYWHERE
    rule = entry(SERVICE_RULE, provider_id="doctor")
    assert reach_of(Change(SERVICE_RULE, rule), {}, {}) == Reach(provider_id="doctor")
    closed = entry(CLOSURE, location_id="", start="2026-02-20T09:00", end="2026-02-20T17:00")
    assert reach_of(Change(CLOSURE, closed), {}, {}) == EVERYWHERE


@pytest.mark.parametrize("name", ["start", "end"])
def test_an_old_entry_of_a_far_year_is_open_on_that_side(name: str) -> None:
    """Put out of use, or given a near year, a closure until 9999 or since the year 1 is told, open where it was."""
    near = {"location_id": "east", "start": "2026-02-20T09:00", "end": "2026-02-20T17:00"}
    far = near | {name: "0001-01-01T00:00" if name == "start" else "9999-12-31T23:59"}
    first, end = utc(2026, 2, 20, 14), utc(2026, 2, 20, 22)
    expected = Reach(
        location_ids=("east",),
        first=None if name == "start" else first,
        end=None if name == "end" else end,
    )
    former, mended = entry(CLOSURE, **far), entry(CLOSURE, **near)
    for change in (Change(CLOSURE, former, former), Change(CLOSURE, mended, former)):
        assert reach_of(change, _ZONES, {}) == expected


def test_what_goes_from_one_provider_to_another_is_anybodys() -> None:
    """A preference of one provider that becomes another's concerns both."""
    before, after = entry(PREFERENCE, provider_id="doctor"), entry(PREFERENCE, provider_id="nurse")
    assert reach_of(Change(PREFERENCE, after, before), {}, {}) == EVERYWHERE
