"""Ranking, next-available, windows and the bounded memory of a search."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from scheduling import localtime
from scheduling.appointment import TRANSITIONS, AppointmentStatus, require_transition, status_after_reschedule
from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.errors import DomainError, Invalid, Reason, Refused
from scheduling.explain import explain_day, explain_slot
from scheduling.facts import (
    Closure,
    Location,
    Preference,
    Room,
    Service,
    SlotRequest,
    StaticFacts,
    TimeOfDay,
    Window,
    WindowKind,
)
from scheduling.search import SearchQuery, next_windows, search, window_of
from scheduling.slots import SlotOrder
from tests.unit.scheduling.clinic import (
    DAY,
    ZONE,
    at,
    claim,
    clinic,
    clocks,
    found,
    once,
    provider,
    rule,
    window,
)


def test_a_slot_that_touches_a_visit_comes_before_one_that_leaves_a_crumb() -> None:
    """Beside 12:00–12:30: touching scores most, a quarter of an hour left over least."""
    scores = {slot.start_min: slot.score for slot in found(clinic(), claim("provider", "12:00", "12:30"))}
    assert scores[at("11:30")] == scores[at("12:30")] == 60
    assert scores[at("11:15")] == scores[at("12:45")] == 40
    assert scores[at("11:00")] == 50


def test_the_time_of_day_ranks_and_does_not_filter() -> None:
    """Afternoon is from noon to five by the wall clock; the morning is still there, later in the list."""
    plain = found(clinic())
    slots = list(found(clinic(), preferred_time_of_day=TimeOfDay.AFTERNOON))
    assert len(slots) == plain.total
    afternoon = [slot for slot in slots if slot.start_min >= at("12:00")]
    assert slots[: len(afternoon)] == afternoon
    assert {slot.score for slot in afternoon} == {60, 70}


def test_preferences_weigh_what_they_match() -> None:
    """A full match gains, a miss loses, half of two parts is neutral; one for the service replaces general ones."""
    likes = Preference(100, windows=((540, 600),))
    static = clinic(providers=[provider("provider", preferences=(likes,))])
    scores = {slot.start_min: slot.score for slot in found(static)}
    assert scores[at("09:00")] - scores[at("13:00")] == 40
    both = Preference(100, windows=((540, 600),), room_ids=("gone",))
    roomy = clinic(
        service=Service("service", 30),
        rooms=[Room("a")],
        providers=[provider("provider", preferences=(both,))],
    )
    assert {slot.start_min: slot.score for slot in found(roomy)}[at("09:00")] == 50
    own = Preference(0, service_id="service")
    mixed = clinic(providers=[provider("provider", preferences=(likes, own))])
    assert {slot.score for slot in found(mixed)} == {40, 50}


def test_the_first_slots_are_found_over_months() -> None:
    """Windows grow as nothing is found; the seam of two windows hides nothing."""
    later = once("09:00", "10:00", "available", days=200)
    static, cache = clinic(providers=[provider("provider", later), provider("second", later)]), DerivedCache()
    pages = (
        search(
            static,
            BusyFacts(),
            SearchQuery(SlotRequest("service"), *window_of_days, SlotOrder.TIME),
            at("08:00"),
            cache,
        ).page(3)
        for window_of_days in ((found.start_min, found.end_min) for found in next_windows(at("09:00")))
    )
    first = next(page for page in pages if page)
    assert [(slot.start_min, slot.provider_id) for slot in first] == [
        (at("09:00", 200), "provider"),
        (at("09:00", 200), "second"),
        (at("09:15", 200), "provider"),
    ]
    windows = list(next_windows(0, 365))
    assert windows[0].start_min == 0
    assert windows[-1].end_min == 365 * 1440
    assert all(two.start_min < one.end_min for one, two in pairwise(windows))


def test_a_window_is_bounded() -> None:
    """Empty, backwards and longer than 93 days are refused; 93 days with a clock change are not."""
    static, cache = clinic(), DerivedCache()

    def asked(low: int, high: int) -> int:
        return search(static, BusyFacts(), SearchQuery(SlotRequest("service"), low, high), low, cache).total

    assert asked(at("00:00", 150), at("00:00", 243)) > 0
    for low, high in ((10, 10), (10, 5), (at("00:00"), at("00:00", 94)), (at("00:00"), at("00:01", 93))):
        with pytest.raises(Invalid):
            asked(low, high)


def test_93_days_are_those_of_the_wall_or_of_the_clock() -> None:
    """Across a change of the clock both 93 local days and 93 times 24 hours are let through, and no minute more."""
    berlin = "Europe/Berlin"
    for first in (date(2026, 2, 1), date(2026, 9, 1)):
        low, _ = localtime.day_bounds(berlin, first)
        high, _ = localtime.day_bounds(berlin, first + timedelta(days=93))
        ends = sorted({high, low + 93 * 1440})
        assert len(ends) == 2
        assert [window_of(low, end, berlin).end_min for end in ends] == ends
        with pytest.raises(Invalid):
            window_of(low, ends[1] + 1, berlin)


def test_no_slot_crosses_the_end_of_the_window() -> None:
    """A slot lies wholly inside, so the last start leaves room for the visit."""
    query = SearchQuery(SlotRequest("service"), at("09:10"), at("10:10"))
    assert clocks(search(clinic(), BusyFacts(), query, at("08:00"), DerivedCache())) == ["09:15", "09:30"]


def test_no_provider_no_slot() -> None:
    """Nobody asked for, or nobody known, is an empty answer and not an error."""
    assert list(found(clinic(), provider_ids=())) == []
    assert found(clinic(), provider_ids=("unknown",)).total == 0


def test_what_is_derived_is_kept_within_bounds() -> None:
    """The cache is used, forgets the oldest, and stays below its size."""
    cache = DerivedCache(20_000)
    for number in range(500):
        cache.put(number, 1 << 1000)
    assert len(cache) < 60
    assert cache.get(499) == 1 << 1000
    assert cache.get(0) is None


def test_an_explanation_names_what_a_person_would() -> None:
    """Time off, a buffer, the location's hours: each by its own name, since and until when."""
    buffered = Service("service", 30, buffer_after_min=10, requires_room=False)
    off = once("12:00", "13:00", "unavailable")
    static = clinic(service=buffered, providers=[provider("provider", window("09:00", "17:00"), off)])
    busy, cache = BusyFacts.of([claim("provider", "10:00", "10:40")]), DerivedCache()

    def blocked(clock: str) -> list[tuple[str, int | None, int | None]]:
        told = explain_slot(static, busy, SlotRequest("service"), at(clock), now_min=at("00:00"), cache=cache)
        assert told.is_free == (not [o for o in told.providers[0].outcomes if not o.is_passed])
        return [(o.check, o.since_min, o.until_min) for o in told.providers[0].outcomes if not o.is_passed]

    assert blocked("09:00") == []
    assert blocked("12:15") == [("time_off", at("12:00"), at("13:00"))]
    assert blocked("09:30") == [("buffer", at("10:00"), at("10:40"))]
    assert blocked("10:15") == [("busy", at("10:00"), at("10:40"))]
    assert blocked("17:00") == [("hours", at("17:00"), at("09:00", 1))]
    days = explain_day(static, busy, SlotRequest("service"), DAY.date(), now_min=at("00:00"), cache=cache)
    told = [(run.is_free, [outcome.check for outcome in run.blocked_by]) for run in days[0].runs]
    assert (True, []) in told
    assert (False, ["time_off"]) in told
    assert days[0].free_slots == found(static, claim("provider", "10:00", "10:40")).total


def test_an_explanation_tells_true_ends_or_none() -> None:
    """A closure of months and a holiday of weeks have their own ends; what ends beyond all that was read has none."""
    closure = Closure(DAY - timedelta(days=70), DAY + timedelta(days=70))
    holiday = Window(WindowKind.UNAVAILABLE, DAY - timedelta(days=50), DAY + timedelta(days=50))
    static = clinic(
        providers=[provider("provider", window("09:00", "17:00"), holiday)],
        location=Location("location", ZONE, closures=(closure,)),
    )
    idle = clinic(providers=[provider("provider", once("09:00", "10:00", "available", days=-60))])
    soon = clinic(rule("lead_time", min_minutes=24 * 60))

    def told(static: StaticFacts, *, of_day: bool) -> dict[str, tuple[int | None, int | None]]:
        asked, cache, now_min = (static, BusyFacts(), SlotRequest("service")), DerivedCache(), at("00:00")
        if of_day:
            (one,) = explain_day(*asked, DAY.date(), now_min=now_min, cache=cache)
            outcomes = one.runs[-1].blocked_by
        else:
            found = explain_slot(*asked, at("12:00"), now_min=now_min, cache=cache)
            outcomes = tuple(o for o in found.providers[0].outcomes if not o.is_passed)
        return {o.check: (o.since_min, o.until_min) for o in outcomes}

    for of_day in (True, False):
        away = told(static, of_day=of_day)
        assert away["closure"] == (at("00:00", -70), at("00:00", 70))
        assert away["time_off"] == (at("00:00", -50), at("00:00", 50))
        assert told(idle, of_day=of_day)["hours"] == (at("10:00", -60), None)
        assert told(soon, of_day=of_day)["lead_time"] == (None, at("00:00", 1))


def test_an_explanation_tells_the_law_once_and_each_rule_once() -> None:
    """A start that is past, too soon or too far has one outcome for the law of time and one for the clinic's rule."""
    static = clinic(rule("lead_time", id="notice", min_minutes=120, max_days_ahead=10))

    def told(clock: str, days: int) -> list[tuple[str, bool, Reason | None]]:
        found = explain_slot(
            static,
            BusyFacts(),
            SlotRequest("service"),
            at(clock, days),
            now_min=at("10:00"),
            cache=DerivedCache(),
        )
        outcomes = [one for one in found.providers[0].outcomes if one.check == "lead_time"]
        return [(one.subject_id, one.is_passed, one.reason) for one in outcomes]

    assert told("09:00", 0) == [("", False, Reason.LEAD_TIME), ("notice", False, Reason.LEAD_TIME)]
    assert told("11:00", 0) == [("", True, None), ("notice", False, Reason.LEAD_TIME)]
    assert told("11:00", 20) == [("", True, None), ("notice", False, Reason.TOO_FAR_AHEAD)]
    assert told("11:00", 5) == [("", True, None), ("notice", True, None)]
    assert told("11:00", 900) == [("", False, Reason.TOO_FAR_AHEAD), ("notice", False, Reason.TOO_FAR_AHEAD)]


@pytest.mark.parametrize("current", AppointmentStatus)
@pytest.mark.parametrize("wanted", AppointmentStatus)
def test_only_the_drawn_transitions_are_allowed(
    current: AppointmentStatus, wanted: AppointmentStatus
) -> None:
    """Everything else is INVALID_TRANSITION."""
    if wanted in TRANSITIONS[current]:
        require_transition(current, wanted)
        return
    with pytest.raises(Refused) as refused:
        require_transition(current, wanted)
    assert refused.value.reason is Reason.INVALID_TRANSITION


def test_a_move_keeps_a_hold_and_unconfirms_a_visit() -> None:
    """A confirmed visit is scheduled again; what is over does not move."""
    assert status_after_reschedule(AppointmentStatus.HELD) is AppointmentStatus.HELD
    assert status_after_reschedule(AppointmentStatus.CONFIRMED) is AppointmentStatus.SCHEDULED
    with pytest.raises(Refused):
        status_after_reschedule(AppointmentStatus.COMPLETED)


def test_an_error_without_a_message_says_what_its_class_says() -> None:
    """The docstring is the default message; reason, metadata and violations travel along."""
    error = Invalid.field("start", "is wrong")
    assert str(Refused()) == "A rule or a state says no."
    assert error.reason is Reason.INVALID_ARGUMENT
    assert [(v.field, v.description) for v in error.violations] == [("start", "is wrong")]
    assert "INVALID_ARGUMENT" in repr(error)
    assert isinstance(error, DomainError)
