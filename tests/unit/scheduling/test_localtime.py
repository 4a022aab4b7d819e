"""Wall clocks: gaps, folds, odd offsets and what a request may write."""

from datetime import date

import pytest

from scheduling import localtime
from scheduling.errors import Invalid, NonexistentLocalTime, Reason


@pytest.mark.parametrize(
    ("zone", "text", "expected"),
    [
        ("America/New_York", "2026-02-20T09:00:00", "2026-02-20T09:00:00-05:00"),
        ("America/New_York", "2026-02-20T09:00", "2026-02-20T09:00:00-05:00"),
        ("America/New_York", "2026-02-20", "2026-02-20T00:00:00-05:00"),
        ("America/New_York", "2026-02-20T14:00:00Z", "2026-02-20T09:00:00-05:00"),
        ("America/New_York", "2026-02-20T09:00:00.000-05:00", "2026-02-20T09:00:00-05:00"),
        ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T01:30:00-04:00"),
        ("America/New_York", "2026-11-01T01:30:00-05:00", "2026-11-01T01:30:00-05:00"),
        ("Asia/Kolkata", "2026-02-20T09:00:00", "2026-02-20T09:00:00+05:30"),
        ("Asia/Kathmandu", "2026-02-20T09:00:00", "2026-02-20T09:00:00+05:45"),
        ("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-05T01:45:00+11:00"),
        ("Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00"),
    ],
)
def test_a_request_means_one_instant(zone: str, text: str, expected: str) -> None:
    """Local, with offset, as UTC or as a date: each is one instant, the first where a time occurs twice."""
    assert localtime.format_local(zone, localtime.parse_local(text, zone)) == expected


@pytest.mark.parametrize(
    ("zone", "text", "next_valid"),
    [
        ("America/New_York", "2026-03-08T02:30:00", "2026-03-08T03:00:00-04:00"),
        ("Europe/Berlin", "2026-03-29T02:00:00", "2026-03-29T03:00:00+02:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-04T02:30:00+11:00"),
        ("Africa/Cairo", "2026-04-24T00:30:00", "2026-04-24T01:00:00+03:00"),
    ],
)
def test_a_time_that_the_clock_jumps_over_is_refused(zone: str, text: str, next_valid: str) -> None:
    """The refusal carries the next valid time."""
    with pytest.raises(NonexistentLocalTime) as refused:
        localtime.parse_local(text, zone)
    assert refused.value.reason is Reason.NONEXISTENT_LOCAL_TIME
    assert refused.value.metadata["nextValid"] == next_valid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-02-30T09:00:00",
        "2026-02-20T25:00:00",
        "2026-02-20T09:00:30",
        "2026-02-20T09:00:60",
        "2026-02-20T09:00:00.5",
        "0000-01-01T00:00:00",
        "9999-12-31T23:59:00",
        "2026-02-20T09:00:00+99:00",
        "2026-02-20T09:00:00-05:00[America/New_York]",
        "٢٠٢٦-02-20T09:00:00",
        "2026-02-20T09:00:00\n",
    ],
)
def test_what_is_not_a_whole_minute_of_our_centuries_is_refused(text: str) -> None:
    """Each is a malformed field, never an error of ours."""
    with pytest.raises(Invalid) as refused:
        localtime.parse_local(text, "UTC", "end")
    assert refused.value.violations[0].field == "end"


def test_an_unknown_zone_is_refused() -> None:
    """Neither a made-up name nor a path is a zone."""
    for name in ("Mars/Olympus", "../etc/passwd", "", "Europe"):
        with pytest.raises(Invalid):
            localtime.zone_of(name)


def test_days_are_as_long_as_the_clock_makes_them() -> None:
    """23, 25 and 23.5 hours, and none at all for the day that Samoa skipped."""

    def hours(zone: str, day: date) -> float:
        low, high = localtime.day_bounds(zone, day)
        return (high - low) / 60

    assert hours("America/New_York", date(2026, 3, 8)) == 23
    assert hours("America/New_York", date(2026, 11, 1)) == 25
    assert hours("Australia/Lord_Howe", date(2026, 10, 4)) == 23.5
    assert hours("Pacific/Apia", date(2011, 12, 30)) == 0
    assert hours("Asia/Kolkata", date(2026, 5, 1)) == 24


def test_months_are_clipped_to_their_last_day() -> None:
    """24 months after a leap day is the 28th, and January follows December."""

    def later(text: str, months: int) -> str:
        return localtime.format_local("UTC", localtime.add_months(localtime.parse_local(text, "UTC"), months))

    assert later("2028-02-29T10:00", 24) == "2030-02-28T10:00:00+00:00"
    assert later("2026-12-31T10:00", 2) == "2027-02-28T10:00:00+00:00"
    assert later("2026-01-15T10:00", 11) == "2026-12-15T10:00:00+00:00"
