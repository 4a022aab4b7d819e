"""What RFC 5545 lines say: RRULE, EXDATE and RDATE, read strictly into values.

Whatever could make an expansion run away is refused here, by what the text says, before anything is expanded.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from scheduling.errors import Invalid

TEXT_CHARS_MAX: Final = 20_000
COUNT_MAX: Final = 5_000
INTERVAL_MAX: Final = 1_000
LIST_ITEMS_MAX: Final = 400
DATES_MAX: Final = 1_000

_FIELD: Final = "recurrence_rule"
_WEEKDAYS: Final = {name: index for index, name in enumerate(("MO", "TU", "WE", "TH", "FR", "SA", "SU"))}
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_BYDAY: Final = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_STAMP: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2}))?")
_RANGES: Final = {
    "BYMONTH": (1, 12, False),
    "BYMONTHDAY": (1, 31, True),
    "BYYEARDAY": (1, 366, True),
    "BYWEEKNO": (1, 53, True),
    "BYSETPOS": (1, 366, True),
    "BYHOUR": (0, 23, False),
    "BYMINUTE": (0, 59, False),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One RRULE, parsed. Empty tuples mean that the part is absent."""

    frequency: str
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    week_start: int = 0
    by_day: tuple[tuple[int, int], ...] = ()  # (n-th or 0 for every, weekday)
    by_month: tuple[int, ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_year_day: tuple[int, ...] = ()
    by_week_no: tuple[int, ...] = ()
    by_set_pos: tuple[int, ...] = ()
    by_hour: tuple[int, ...] = ()
    by_minute: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When a window starts: its rule, if any, with single starts added and left out."""

    rule: Rule | None = None
    added: tuple[datetime, ...] = ()
    left_out: frozenset[datetime] = field(default_factory=frozenset)


@lru_cache(maxsize=16_384)
def parse(text: str) -> Recurrence:
    """Return what RFC 5545 lines say, or refuse them with what is wrong. A bare `FREQ=…` is an RRULE."""
    if len(text) > TEXT_CHARS_MAX:
        raise refusal(f"is longer than {TEXT_CHARS_MAX} characters")
    rules: list[Rule] = []
    dates: dict[str, list[datetime]] = {"EXDATE": [], "RDATE": []}
    for line in filter(None, (raw.strip() for raw in text.upper().splitlines())):
        name, _, value = line.rpartition(":")
        if name in ("", "RRULE"):
            rules.append(_parse_rule(value))
        elif name.partition(";")[0] in dates:
            dates[name.partition(";")[0]].extend(_parse_dates(name, value))
        else:
            raise refusal(f"has a line that is not RRULE, EXDATE or RDATE: {name[:20]}")
    if len(rules) > 1:
        raise refusal("has more than one RRULE")
    if any(len(found) > DATES_MAX for found in dates.values()):
        raise refusal(f"names more than {DATES_MAX} dates")
    return Recurrence(
        rules[0] if rules else None, tuple(sorted(set(dates["RDATE"]))), frozenset(dates["EXDATE"])
    )


def _parse_rule(value: str) -> Rule:
    """Return the rule that an RRULE's value says."""
    parts = _parts(value)
    frequency = parts.pop("FREQ", "")
    if frequency not in _FREQUENCIES:
        raise refusal("FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY")
    if "COUNT" in parts and "UNTIL" in parts:
        raise refusal("has both COUNT and UNTIL")
    week_start = _WEEKDAYS.get(parts.pop("WKST", "MO"))
    if week_start is None:
        raise refusal("WKST must be a weekday")
    rule = Rule(
        frequency,
        interval=_number("INTERVAL", parts.pop("INTERVAL", "1"), 1, INTERVAL_MAX),
        count=_number("COUNT", parts.pop("COUNT"), 1, COUNT_MAX) if "COUNT" in parts else None,
        until=_stamp("UNTIL", parts.pop("UNTIL"), end_of_day=True) if "UNTIL" in parts else None,
        week_start=week_start,
        by_day=_by_day(parts.pop("BYDAY", ""), frequency),
        by_month=_numbers("BYMONTH", parts),
        by_month_day=_numbers("BYMONTHDAY", parts),
        by_year_day=_numbers("BYYEARDAY", parts),
        by_week_no=_numbers("BYWEEKNO", parts),
        by_set_pos=_numbers("BYSETPOS", parts),
        by_hour=_numbers("BYHOUR", parts),
        by_minute=_numbers("BYMINUTE", parts),
    )
    if parts.pop("BYSECOND", "0") != "0":
        raise refusal("BYSECOND must be 0: windows begin on whole minutes")
    if parts:
        raise refusal(f"has an unknown part {min(parts)[:20]}")
    _require_sense(rule)
    return rule


def _require_sense(rule: Rule) -> None:
    """Refuse combinations that RFC 5545 forbids, that cannot occur, or that multiply out of bounds."""
    if len(rule.by_hour or (0,)) * len(rule.by_minute or (0,)) > 24:
        raise refusal("BYHOUR and BYMINUTE name more than 24 times a day")
    if rule.frequency == "WEEKLY" and rule.by_month_day:
        raise refusal("BYMONTHDAY does not go with FREQ=WEEKLY")
    if rule.by_year_day and rule.frequency != "YEARLY":
        raise refusal("BYYEARDAY goes with FREQ=YEARLY only")
    if rule.by_week_no and (rule.frequency != "YEARLY" or rule.week_start != 0):
        raise refusal("BYWEEKNO goes with FREQ=YEARLY and weeks that begin on Monday only")
    if rule.by_week_no and any(nth for nth, _ in rule.by_day):
        raise refusal("BYDAY must not number weekdays beside BYWEEKNO")
    if rule.by_set_pos and not (
        rule.by_day
        or rule.by_month
        or rule.by_month_day
        or rule.by_year_day
        or rule.by_week_no
        or rule.by_hour
    ):
        raise refusal("BYSETPOS needs another BY part")


def _parts(value: str) -> dict[str, str]:
    """Return the `NAME=value` parts; each may come once."""
    parts: dict[str, str] = {}
    for part in value.strip(";").split(";"):
        name, equals, content = part.partition("=")
        if not equals or not content or name in parts:
            raise refusal(f"RRULE has a part that is malformed or repeated: {part[:20]}")
        parts[name] = content
    return parts


def _numbers(name: str, parts: dict[str, str]) -> tuple[int, ...]:
    """Take a BY part's list of numbers out of `parts`."""
    low, high, may_be_negative = _RANGES[name]
    items = parts.pop(name, "").split(",")
    if items == [""]:
        return ()
    if len(items) > LIST_ITEMS_MAX:
        raise refusal(f"{name} names more than {LIST_ITEMS_MAX} values")
    numbers = {_number(name, item, -high if may_be_negative else low, high) for item in items}
    if may_be_negative and 0 in numbers:
        raise refusal(f"{name} must not name 0")
    return tuple(sorted(numbers))


def _number(name: str, text: str, low: int, high: int) -> int:
    """Return a whole number of at most five characters within bounds."""
    if not re.fullmatch(r"[+-]?[0-9]{1,5}", text) or not low <= int(text) <= high:
        raise refusal(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _by_day(text: str, frequency: str) -> tuple[tuple[int, int], ...]:
    """Return BYDAY as (n-th, weekday) pairs; numbers go with months and years only."""
    if not text:
        return ()
    items = text.split(",")
    found: set[tuple[int, int]] = set()
    for item in items[: LIST_ITEMS_MAX + 1]:
        match = _BYDAY.fullmatch(item)
        nth = int(match.group(1) or 0) if match else 0
        if match is None or abs(nth) > 53 or (match.group(1) and nth == 0) or len(items) > LIST_ITEMS_MAX:
            raise refusal(f"BYDAY has a weekday that is malformed: {item[:10]}")
        if nth and frequency not in ("MONTHLY", "YEARLY"):
            raise refusal("BYDAY numbers weekdays with FREQ=MONTHLY and YEARLY only")
        found.add((nth, _WEEKDAYS[match.group(2)]))
    return tuple(sorted(found))


def _parse_dates(name: str, value: str) -> list[datetime]:
    """Return the local times of an EXDATE or RDATE line."""
    if name.partition(";")[2] not in ("", "VALUE=DATE-TIME"):
        raise refusal(f"{name.partition(';')[0]} takes local date-times without a zone")
    return [_stamp(name, item, end_of_day=False) for item in value.split(",")[: DATES_MAX + 1]]


def _stamp(name: str, text: str, *, end_of_day: bool) -> datetime:
    """Return local `YYYYMMDDTHHMMSS`, whole minutes; a date alone means its last minute where allowed."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise refusal(f"{name} must be local time such as 20260220T090000, without Z")
    year, month, day, hour, minute, second = (int(group or 0) for group in match.groups())
    if match.group(4) is None:
        if not end_of_day:
            raise refusal(f"{name} must have a time, such as 20260220T090000")
        hour, minute = 23, 59
    if second and not end_of_day:
        raise refusal(f"{name} must be a whole minute")
    try:
        return datetime(year, month, day, hour, minute)  # noqa: DTZ001 - a wall clock has no zone
    except ValueError:
        raise refusal(f"{name} is not a date of the calendar") from None


def refusal(what: str) -> Invalid:
    """Return the refusal of the recurrence field."""
    return Invalid.field(_FIELD, what)
