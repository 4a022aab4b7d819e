"""Recurrences agree with python-dateutil wherever both will expand them."""

# ruff: noqa: DTZ001 - a wall clock has no zone

from datetime import datetime, timedelta

from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling import recurrence

WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


@st.composite
def rule_texts(draw: st.DrawFn) -> str:
    """RRULEs of every frequency with parts that go together."""
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={frequency}", f"INTERVAL={draw(st.integers(1, 4))}"]
    optional = ["BYMONTH", "BYDAY", "BYHOUR", "WKST", "END", "BYMINUTE"]
    optional += ["BYMONTHDAY"] if frequency != "WEEKLY" else []
    optional += ["BYYEARDAY"] if frequency == "YEARLY" else []
    chosen = draw(st.lists(st.sampled_from(optional), unique=True, max_size=3))
    is_sparse = frequency in ("MONTHLY", "YEARLY") and bool(set(chosen) & {"BYDAY", "BYMONTHDAY"})
    if is_sparse and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from(['1', '-1', '2,-1']))}")
    values = {
        "BYMONTH": st.sampled_from(["1", "2,7", "11,12"]),
        "BYMONTHDAY": st.sampled_from(["1", "15,31", "-1", "29"]),
        "BYYEARDAY": st.sampled_from(["1,200", "-1", "366,60"]),
        "BYHOUR": st.sampled_from(["9", "8,13"]),
        "BYMINUTE": st.sampled_from(["0", "0,30"]),
        "WKST": st.sampled_from(WEEKDAYS),
    }
    for name in chosen:
        if name == "END":
            parts.append(
                draw(st.sampled_from(["COUNT=7", "COUNT=40", "UNTIL=20270301T090000", "UNTIL=20260401"]))
            )
        elif name == "BYDAY":
            numbered = frequency in ("MONTHLY", "YEARLY") and "BYYEARDAY" not in chosen
            days = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3, unique=True))
            nth = draw(st.sampled_from(["", "1", "-1", "2"])) if numbered else ""
            parts.append("BYDAY=" + ",".join(nth + day for day in days))
        else:
            parts.append(f"{name}={draw(values[name])}")
    return ";".join(parts)


@settings(max_examples=300, deadline=None)
@given(
    rule_texts(),
    st.datetimes(datetime(2025, 12, 1), datetime(2026, 3, 1)),
    st.integers(-100, 900),
    st.integers(1, 400),
)
def test_starts_are_those_of_dateutil(text: str, start: datetime, ahead: int, days: int) -> None:
    """Any stretch of a rule's starts is the same as the library's."""
    start = start.replace(second=0, microsecond=0)
    low = (start + timedelta(days=ahead)).replace(hour=0, minute=0)
    high = low + timedelta(days=days)
    ours = recurrence.starts_between(text, start, low, high)
    until_end_of_day = text.replace("UNTIL=20260401", "UNTIL=20260401T235900")
    theirs = rrulestr(until_end_of_day, dtstart=start).between(low, high - timedelta(seconds=1), inc=True)
    assert ours == theirs
