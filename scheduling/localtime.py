"""Wall clocks: the only module that turns local time into instants and back.

Instants are minutes since the Unix epoch in UTC. A *wall minute* counts the minutes that a wall clock would
have shown since 1970-01-01 00:00 local; it is plain calendar arithmetic, and a clock change makes it skip or
repeat.
"""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scheduling.clock import EPOCH, instant_of
from scheduling.errors import FieldViolation, Invalid, NonexistentLocalTime

DAY_MIN: Final = 1440
YEAR_MIN: Final = 1971
YEAR_MAX: Final = 2199
YEARS_BOUNDED: Final = f"must lie in the years {YEAR_MIN} to {YEAR_MAX}"
_WALL_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock has no zone
_EPOCH_ORDINAL: Final = _WALL_EPOCH.toordinal()
_LOCAL: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|z|[+-]\d{2}:?\d{2})?)?"
)


def canonical_text(text: str) -> str:
    """Return one spelling for all that mean the same local time; what is no local time is returned as it is.

    It is the usual one, without seconds, which requests were remembered by before they were compared by meaning.
    """
    match = _LOCAL.fullmatch(text)
    if match is None or match[4] is None or int(match[6] or 0) or int(match[7] or 0):
        return text
    offset = match[8] or ""
    if offset in ("z", "+00:00", "+0000"):
        offset = "Z"
    elif offset not in ("", "Z") and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    return f"{match[1]}-{match[2]}-{match[3]}T{match[4]}:{match[5]}{offset}"


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """Return the IANA zone `name`, or refuse it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid.field("timezone", "is not an IANA time zone") from None


def is_far(day: date) -> bool:
    """Tell whether a date, or a date and time, lies outside of the years that anything may be set up for."""
    return not YEAR_MIN <= day.year <= YEAR_MAX


def wall_minute(local: datetime) -> int:
    """Return the wall minute of a naive local time."""
    return (local - _WALL_EPOCH) // timedelta(minutes=1)


def wall_midnight(day: date) -> int:
    """Return the wall minute at which `day` begins."""
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY_MIN


def wall_day(wall_min: int) -> date:
    """Return the calendar day of a wall minute."""
    return date.fromordinal(wall_min // DAY_MIN + _EPOCH_ORDINAL)


@lru_cache(maxsize=65_536)
def _offset_at_hour(zone: str, hour: int) -> int:
    """Return the zone's offset, in minutes, at the start of an hour since the epoch."""
    offset = (EPOCH + timedelta(hours=hour)).astimezone(zone_of(zone)).utcoffset()
    return int((offset or timedelta()).total_seconds()) // 60


@lru_cache(maxsize=65_536)
def _changes_of_day(zone: str, utc_day: int) -> tuple[tuple[int, int], ...]:
    """Return (instant, new offset) for every clock change in one UTC day: none or one, hardly ever more."""
    changes: list[tuple[int, int]] = []
    first_hour = utc_day * 24
    if (
        _offset_at_hour(zone, first_hour)
        == _offset_at_hour(zone, first_hour + 24)
        == _offset_at_hour(zone, first_hour + 12)
    ):
        return ()
    for hour in range(first_hour, first_hour + 24):
        before, after = _offset_at_hour(zone, hour), _offset_at_hour(zone, hour + 1)
        if before != after:
            changes.append((_change_within(zone, hour * 60, (hour + 1) * 60), after))
    return tuple(changes)


def _change_within(zone: str, low_min: int, high_min: int) -> int:
    """Return the first minute of (low, high] that has the offset of `high`."""
    info = zone_of(zone)
    wanted = instant_of(high_min).astimezone(info).utcoffset()
    while high_min - low_min > 1:
        middle = (low_min + high_min) // 2
        if instant_of(middle).astimezone(info).utcoffset() == wanted:
            high_min = middle
        else:
            low_min = middle
    return high_min


def offset_at(zone: str, at_min: int) -> int:
    """Return the zone's offset from UTC, in minutes, at an instant."""
    offset = _offset_at_hour(zone, at_min // DAY_MIN * 24)
    for change_min, after in _changes_of_day(zone, at_min // DAY_MIN):
        if change_min <= at_min:
            offset = after
    return offset


def segments(zone: str, start_min: int, end_min: int) -> list[tuple[int, int, int]]:
    """Return (start, end, offset) runs of constant offset that cover the instants `[start_min, end_min)`."""
    found = []
    at_min, offset = start_min, offset_at(zone, start_min)
    for day in range(start_min // DAY_MIN, -(-end_min // DAY_MIN)):
        for change_min, after in _changes_of_day(zone, day):
            if at_min < change_min < end_min:
                found.append((at_min, change_min, offset))
                at_min, offset = change_min, after
    found.append((at_min, end_min, offset))
    return found


def wall_at(zone: str, at_min: int) -> int:
    """Return the wall minute shown at an instant."""
    return at_min + offset_at(zone, at_min)


def day_at(zone: str, at_min: int) -> date:
    """Return the local calendar day at an instant."""
    return wall_day(wall_at(zone, at_min))


def instant_at(zone: str, wall_min: int) -> int:
    """Return the first instant that shows a wall minute; for one in a gap, the first one after the gap."""
    return _resolve(zone, wall_min)[0]


def exists(zone: str, wall_min: int) -> bool:
    """Tell whether the clock ever shows this wall minute."""
    return _resolve(zone, wall_min)[1]


# Windows of a whole team begin and end at the same few times of a day.
@lru_cache(maxsize=65_536)
def _resolve(zone: str, wall_min: int) -> tuple[int, bool]:
    """Return the instant of a wall minute and whether it exists.

    Offsets lie within a day of UTC, so the instant lies between the two bracketing segments looked at here.
    Segments are tried in time order: the first that shows the minute wins, and a segment that begins beyond
    it means that the clock has jumped over it.
    """
    around = segments(zone, wall_min - DAY_MIN, wall_min + DAY_MIN)
    for start_min, end_min, offset in around:
        at_min = wall_min - offset
        if at_min < start_min:
            return start_min, False
        if at_min < end_min:
            return at_min, True
    return wall_min - around[-1][2], True


@lru_cache(maxsize=65_536)
def day_bounds(zone: str, day: date) -> tuple[int, int]:
    """Return the instants at which a local day begins and ends; equal for a day that the zone skipped."""
    midnight = wall_midnight(day)
    return instant_at(zone, midnight), instant_at(zone, midnight + DAY_MIN)


def local_days(zone: str, start_min: int, end_min: int) -> tuple[date, ...]:
    """Return the local days that the instants `[start_min, end_min)` touch."""
    first, last = day_at(zone, start_min), day_at(zone, end_min - 1)
    return _days_from(first.toordinal(), last.toordinal())


@lru_cache(maxsize=4096)
def _days_from(first: int, last: int) -> tuple[date, ...]:
    """Return the days from one ordinal to another, both included."""
    return tuple(date.fromordinal(ordinal) for ordinal in range(first, last + 1))


@lru_cache(maxsize=8192)
def parse_local(text: str, zone: str, field: str = "start") -> int:
    """Return the instant that an ISO 8601 date-time of a request means in `zone`.

    Without an offset it is the location's wall clock: a time that occurs twice is the first one, one that
    does not exist is refused with the next valid time as metadata `nextValid`. With an offset (or `Z`) it is
    that instant. A date alone is its local midnight. Whole minutes only.
    """
    wall_min, offset, has_time = _parse(text, field)
    if offset is not None:
        return wall_min - offset
    at_min, is_shown = _resolve(zone, wall_min)
    if not is_shown and has_time:
        raise _nonexistent(zone, at_min, field)
    return at_min


def parse_date(text: str, field: str = "date") -> date:
    """Return the calendar day `YYYY-MM-DD`, or refuse it."""
    wall_min, _, has_time = _parse(text, field)
    if has_time:
        raise Invalid.field(field, "must be a date such as 2026-02-20")
    return wall_day(wall_min)


def _parse(text: str, field: str) -> tuple[int, int | None, bool]:
    """Return the wall minute, the offset if one is given, and whether there is a time beside the date."""
    match = _LOCAL.fullmatch(text)
    if match is None or not text.isascii():
        raise Invalid.field(field, "must be an ISO 8601 date-time such as 2026-02-20T09:00:00")
    year, month, day, hour, minute, second = (int(group or 0) for group in match.groups()[:6])
    if second or int(match.group(7) or 0):
        raise Invalid.field(field, "must be a whole minute")
    if not YEAR_MIN <= year <= YEAR_MAX:
        raise Invalid.field(field, YEARS_BOUNDED)
    try:
        local = datetime(year, month, day, hour, minute)  # noqa: DTZ001 - a wall clock has no zone
    except ValueError:
        raise Invalid.field(field, "is not a date and time of the calendar") from None
    return wall_minute(local), _offset(match.group(8), field), match.group(4) is not None


def _offset(text: str | None, field: str) -> int | None:
    """Return the minutes of `+05:30`, `-0500` or `Z`."""
    if text is None:
        return None
    if text in "Zz":
        return 0
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 14 or minutes > 59:
        raise Invalid.field(field, "has an impossible offset")
    return (hours * 60 + minutes) * (-1 if text[0] == "-" else 1)


def _nonexistent(zone: str, next_min: int, field: str) -> NonexistentLocalTime:
    """Return the refusal of a time that the clock jumps over."""
    next_valid = format_local(zone, next_min)
    return NonexistentLocalTime(
        f"{field} does not exist in {zone}: the clock jumps over it; the next valid time is {next_valid}.",
        metadata={"field": field, "timezone": zone, "nextValid": next_valid},
        violations=(FieldViolation(field, f"does not exist; the next valid time is {next_valid}"),),
    )


def format_local(zone: str, at_min: int) -> str:
    """Return an instant as local ISO 8601 with its offset, `2026-02-20T09:00:00-05:00`."""
    offset = offset_at(zone, at_min)
    local = _WALL_EPOCH + timedelta(minutes=at_min + offset)
    sign = "-" if offset < 0 else "+"
    hours, minutes = divmod(abs(offset), 60)
    return f"{local:%Y-%m-%dT%H:%M}:00{sign}{hours:02d}:{minutes:02d}"


@lru_cache(maxsize=256)
def add_months(at_min: int, months: int) -> int:
    """Return the instant `months` calendar months later in UTC, clipped to the month's last day."""
    instant = instant_of(at_min)
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    following = datetime(year + month // 11, (month + 1) % 12 + 1, 1, tzinfo=UTC)
    days_in_month = (following - timedelta(days=1)).day
    moved = instant.replace(year=year, month=month + 1, day=min(instant.day, days_in_month))
    return (moved - EPOCH) // timedelta(minutes=1)
