"""Recurrence texts that are refused, and the lines beside an RRULE."""

# ruff: noqa: DTZ001 - a wall clock has no zone

import time
from datetime import datetime, timedelta

import pytest

from scheduling import recurrence
from scheduling.errors import Invalid

START = datetime(2026, 1, 5, 9)


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=HOURLY",
        "FREQ=DAILY;COUNT=1000000000",
        "FREQ=DAILY;COUNT=5000",
        "FREQ=YEARLY;INTERVAL=9;COUNT=3",
        "FREQ=DAILY;BYHOUR=0,1,2,3,4,5;BYMINUTE=0,10,20,30,40,50",
        "FREQ=DAILY;BYHOUR=8,12,16",
        "FREQ=DAILY;BYSECOND=0,30",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;UNTIL=20250101T000000",
        "FREQ=WEEKLY;UNTIL=20270101T000000Z",
        "FREQ=WEEKLY;COUNT=3;UNTIL=20270101",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=WEEKLY;BYDAY=1MO",
        "FREQ=MONTHLY;BYDAY=0MO",
        "FREQ=WEEKLY;BYEASTER=0",
        "FREQ=WEEKLY;FREQ=DAILY",
        "FREQ=WEEKLY;BYSETPOS=1",
        "FREQ=DAILY;INTERVAL=１",
        "INTERVAL=2",
        "EXRULE:FREQ=DAILY",
        "RRULE:FREQ=DAILY\nRRULE:FREQ=DAILY",
        "RRULE:FREQ=DAILY\nEXDATE;TZID=Europe/Berlin:20260105T090000",
        "RDATE:20260230T090000",
        "RDATE;TZID=Europe/Berlin;VALUE=DATE-TIME:20260105T090000",
        "RDATE:99991231T090000",
        "RRULE:FREQ=DAILY\nEXDATE:00010101T090000",
        "FREQ=DAILY;UNTIL=99991231",
        "FREQ=DAILY;UNTIL=99991231T235900",
        "FREQ=DAILY;BYMONTHDAY=" + ",".join(["1"] * 500),
        "x" * 30_000,
    ],
)
def test_what_could_run_away_or_means_nothing_is_refused_at_once(text: str) -> None:
    """Each is refused as a malformed field, in well under the expansion's own deadline."""
    begin = time.thread_time()
    with pytest.raises(Invalid) as refused:
        recurrence.validate(text, START)
    assert time.thread_time() - begin < 0.05
    assert refused.value.violations[0].field == "recurrence_rule"


def test_a_far_end_that_was_stored_stops_no_search() -> None:
    """A rule that was accepted before its years were bounded is expanded like one without an end."""
    found = recurrence.starts_between("FREQ=DAILY;UNTIL=99991231", START, START, START + timedelta(days=2))
    assert found == [START, START + timedelta(days=1)]


def test_dates_are_added_and_left_out() -> None:
    """RDATE adds single starts, EXDATE takes some away, each exactly."""
    text = "RRULE:FREQ=WEEKLY;COUNT=3\nEXDATE:20260112T090000\nRDATE:20260114T103000,20260105T090000"
    found = recurrence.starts_between(text, START, START, datetime(2026, 3, 1))
    assert found == [START, datetime(2026, 1, 14, 10, 30), datetime(2026, 1, 19, 9)]


def test_dates_alone_keep_the_first_start() -> None:
    """Without an RRULE the window itself is the first occurrence."""
    found = recurrence.starts_between("RDATE:20260107T090000", START, START, datetime(2026, 2, 1))
    assert found == [START, datetime(2026, 1, 7, 9)]


def test_an_old_start_costs_nothing() -> None:
    """A daily window from thirty years ago is expanded from the week that is asked for."""
    begin = time.thread_time()
    low = datetime(2026, 6, 1)
    found = recurrence.starts_between("FREQ=DAILY", datetime(1996, 1, 1, 9), low, datetime(2026, 6, 8))
    assert len(found) == 7
    assert time.thread_time() - begin < 0.01


def test_a_rule_with_a_thousand_windows_a_year_is_accepted() -> None:
    """Twice a day is fine, and says what it says."""
    assert recurrence.validate("FREQ=DAILY;BYHOUR=9,13", START).rule is not None
