"""Search, judge and explain agree with an oracle that counts minutes, on random clinics around clock changes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from scheduling import localtime
from scheduling.busy import KeptCalendars
from scheduling.derived import DerivedCache
from scheduling.errors import Reason
from scheduling.explain import Outcome, explain_day, explain_slot
from scheduling.facts import GridAnchor
from scheduling.judge import Proposal, judge
from scheduling.search import SearchQuery, search
from scheduling.slots import SlotKey, SlotOrder
from tests.oracle.availability import Oracle, instant
from tests.oracle.free_starts import FreeStartOracle
from tests.property.scheduling.clinics import CHANGE_DAYS, Clinic, clinics

SLOW = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
CACHE = DerivedCache(2_000_000)
"""One small cache for all examples: a value kept under too short a key would show."""


def oracle_of(
    clinic: Clinic, first: int | None = None, end: int | None = None, kind: type[Oracle] = Oracle
) -> Oracle:
    return kind(
        clinic.static,
        clinic.claims,
        clinic.request,
        now_min=clinic.now_min,
        first=clinic.start_min if first is None else first,
        end=clinic.end_min if end is None else end,
        patient=clinic.patient,
    )


def query_of(clinic: Clinic, order: SlotOrder = SlotOrder.SCORE) -> SearchQuery:
    return SearchQuery(clinic.request, clinic.start_min, clinic.end_min, order)


def proposal_of(clinic: Clinic, provider_id: str, start_min: int) -> Proposal:
    request = clinic.request
    return Proposal(
        request.service_id,
        provider_id,
        start_min,
        duration_min=request.duration_min,
        patient_id=request.patient_id,
        ignore_appointment_ids=request.ignore_appointment_ids,
    )


def probes(clinic: Clinic, data: st.DataObject) -> Iterator[int]:
    """Yield some starts of the window, on the grid and off it, offered and not."""
    for _ in range(6):
        yield data.draw(st.integers(clinic.start_min, clinic.end_min))


def test_the_days_tried_lie_in_at_least_ten_zones() -> None:
    """The property below means what it says only with many zones."""
    assert len({zone for zone, _ in CHANGE_DAYS}) >= 10


@SLOW
@given(clinics())
def test_search_offers_exactly_what_the_oracle_finds_bookable(clinic: Clinic) -> None:
    """Every slot is bookable and every bookable start on the grid is a slot, with the rooms that are free for it."""
    oracle = oracle_of(clinic)
    result = search(clinic.static, clinic.busy, query_of(clinic), clinic.now_min, CACHE)
    slots = list(result)
    assert {(slot.start_min, slot.provider_id) for slot in slots} == oracle.slots(
        clinic.start_min, clinic.end_min
    )
    assert len(slots) == result.total
    providers = {provider.id: provider for provider in clinic.static.providers}
    for slot in slots[:20]:
        free = oracle.free_rooms(providers[slot.provider_id], slot.start_min)
        assert set(slot.room_ids) == (free if oracle.service.requires_room else set())
        assert 0 <= slot.score <= 100


@pytest.mark.parametrize("step_min", [7, 20, 60])
@SLOW
@given(clinics(), st.integers(60, 700), st.sampled_from([-700, 40.5]))
def test_a_grid_that_begins_wherever_time_is_free_is_the_oracles(
    step_min: int, clinic: Clinic, minutes: int, now_after_min: float
) -> None:
    """It begins anew when the last of what the visit needs gets free, and kept masks of whole weeks change nothing."""
    end_min = min(clinic.start_min + minutes, clinic.end_min)
    service, *others = clinic.static.services
    services = (replace(service, slot_step_min=step_min), *others)
    clinic = replace(
        clinic,
        static=replace(clinic.static, services=services),
        now_min=clinic.start_min + now_after_min,
    )
    expected = oracle_of(clinic, end=end_min, kind=FreeStartOracle).slots(clinic.start_min, end_min)
    query = replace(query_of(clinic), end_min=end_min, anchor=GridAnchor.FREE_START_CEIL)
    for busy in (clinic.busy, replace(clinic.busy, kept=KeptCalendars(clinic.busy.calendars))):
        result = search(clinic.static, busy, query, clinic.now_min, CACHE)
        assert {(slot.start_min, slot.provider_id) for slot in result} == expected
        assert set(result.nearest(0)) == expected


@SLOW
@given(clinics(), st.sampled_from(SlotOrder), st.integers(1, 7))
def test_pages_together_are_the_whole_in_a_total_order(clinic: Clinic, order: SlotOrder, limit: int) -> None:
    """Page after page gives every slot once, in the order asked for, which does not depend on the window's ends."""
    result = search(clinic.static, clinic.busy, query_of(clinic, order), clinic.now_min, CACHE)
    whole = list(result)
    paged, after = [], None
    while page := result.page(limit, after):
        paged += page
        after = SlotKey(page[-1].start_min, page[-1].provider_id, page[-1].score)
    assert paged == whole
    keys = [
        (-s.score, s.start_min, s.provider_id)
        if order is SlotOrder.SCORE
        else (s.start_min, -s.score, s.provider_id)
        for s in whole
    ]
    assert keys == sorted(set(keys))
    wider = SearchQuery(clinic.request, clinic.start_min - 700, clinic.end_min + 900, order)
    found = {
        (s.start_min, s.provider_id): s
        for s in search(clinic.static, clinic.busy, wider, clinic.now_min, CACHE)
    }
    assert all(found[slot.start_min, slot.provider_id] == slot for slot in whole)


@SLOW
@given(clinics(), st.sampled_from(SlotOrder), st.lists(st.integers(0, 3_000), min_size=1, max_size=3))
def test_masks_kept_of_calendars_change_no_answer(
    clinic: Clinic, order: SlotOrder, delays_min: list[int]
) -> None:
    """Whatever was searched before, and whichever holds have ended since, kept masks find what fresh ones find."""
    kept = replace(clinic.busy, kept=KeptCalendars(clinic.busy.calendars))
    for delay_min in (0, 0, *sorted(delays_min)):
        now_min, later = clinic.now_min + delay_min, delay_min % 700
        query = SearchQuery(clinic.request, clinic.start_min + later, clinic.end_min + later, order)
        fresh = list(search(clinic.static, clinic.busy, query, now_min, DerivedCache()))
        found = search(clinic.static, kept, query, now_min, CACHE)
        assert list(found) == fresh
        if fresh:
            middle = fresh[len(fresh) // 2]
            after = SlotKey(middle.start_min, middle.provider_id, middle.score)
            assert found.page(len(fresh), after) == fresh[len(fresh) // 2 + 1 :]


@SLOW
@given(clinics(), st.data())
def test_judge_accepts_exactly_what_the_oracle_finds_bookable(clinic: Clinic, data: st.DataObject) -> None:
    """A verdict has the oracle's reasons; what an accepted visit takes is free, and no more than it needs."""
    oracle = oracle_of(clinic)
    offered = [
        (s.start_min, s.provider_id)
        for s in search(clinic.static, clinic.busy, query_of(clinic), clinic.now_min, CACHE).page(3)
    ]
    asked = [(start, p.id) for start in probes(clinic, data) for p in clinic.static.providers]
    providers = {provider.id: provider for provider in clinic.static.providers}
    for start_min, provider_id in offered + asked:
        provider = providers[provider_id]
        verdict = judge(
            clinic.static, clinic.busy, proposal_of(clinic, provider_id, start_min), clinic.now_min, CACHE
        )
        reasons = oracle.reasons(provider, start_min) | (
            set() if provider.active else {Reason.RESOURCE_INACTIVE}
        )
        note(f"{start_min} {provider_id} oracle {reasons} engine {[r.reason for r in verdict.refusals]}")
        assert verdict.is_accepted == (not reasons)
        assert _coarse({r.reason for r in verdict.refusals}) == _coarse(reasons)
        if (start_min, provider_id) in offered:
            assert verdict.is_accepted
        for claim in verdict.claims:
            taken = oracle.taken(claim.resource_id, claim.unit)
            assert not taken.intersection(range(claim.start_min, claim.end_min)) or claim.kind == "quota"
        assert list(verdict.claims) == sorted(verdict.claims, key=lambda c: (c.resource_id, c.unit))


def _coarse(reasons: set[Reason]) -> set[Reason]:
    """Return reasons with the ones for rooms as one, and without hours, which rooms may cause too."""
    rooms = {Reason.ROOM_ALREADY_BOOKED, Reason.ROOM_TYPE}
    found = {Reason.ROOM_ALREADY_BOOKED if reason in rooms else reason for reason in reasons}
    return found - {Reason.OUTSIDE_HOURS, Reason.ROOM_ALREADY_BOOKED}


@SLOW
@given(clinics(), st.data())
def test_explain_says_free_exactly_when_the_oracle_does(clinic: Clinic, data: st.DataObject) -> None:
    """A start is free when nothing is told against it, and what blocks has since and until around something."""
    oracle = oracle_of(clinic)
    for start_min in probes(clinic, data):
        told = explain_slot(
            clinic.static, clinic.busy, clinic.request, start_min, now_min=clinic.now_min, cache=CACHE
        )
        for answer in told.providers:
            provider = next(p for p in clinic.static.providers if p.id == answer.provider_id)
            assert answer.is_free == (not oracle.reasons(provider, start_min))
            assert answer.is_free == all(outcome.is_passed for outcome in answer.outcomes)
            assert answer.nearest_min == start_min or not answer.is_free
            for outcome in answer.outcomes:
                assert outcome.sentence
                if not outcome.is_passed:
                    _assert_true_extent(clinic, outcome)


def _assert_true_extent(clinic: Clinic, outcome: Outcome) -> None:
    """Known ends are in order, and a closure is told from its first minute to its last, however long it is."""
    since_min, until_min = outcome.since_min, outcome.until_min
    if since_min is not None and until_min is not None:
        assert since_min < until_min
    if outcome.check == "closure":
        assert (since_min, until_min) in _closures(clinic)


def _closures(clinic: Clinic) -> list[tuple[int, int]]:
    """Return the closures of the location, those that touch as one."""
    location = clinic.static.location
    merged: list[tuple[int, int]] = []
    for low, high in sorted(
        (instant(location.zone, one.local_start), instant(location.zone, one.local_end))
        for one in location.closures
    ):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        elif low < high:
            merged.append((low, high))
    return merged


@SLOW
@given(clinics())
def test_a_day_explained_is_free_exactly_where_search_offers_it(clinic: Clinic) -> None:
    """The runs cover the local day without holes, and the free ones hold exactly the slots of a search."""
    zone = clinic.static.location.zone
    day = localtime.day_at(zone, clinic.start_min) + timedelta(days=1)
    low, high = localtime.day_bounds(zone, day)
    duration = clinic.request.duration_min or clinic.static.services[0].duration_min
    query = SearchQuery(clinic.request, low, high - 1 + duration)
    offered = set(search(clinic.static, clinic.busy, query, clinic.now_min, CACHE).nearest(0))
    for told in explain_day(
        clinic.static, clinic.busy, clinic.request, day, now_min=clinic.now_min, cache=CACHE
    ):
        assert told.runs[0].start_min == low
        assert told.runs[-1].end_min == high
        assert all(one.end_min == two.start_min for one, two in zip(told.runs, told.runs[1:], strict=False))
        mine = {start for start, who in offered if who == told.provider_id}
        assert told.free_slots == len(mine)
        for run in told.runs:
            inside = {start for start in mine if run.start_min <= start < run.end_min}
            assert bool(inside) == run.is_free
            assert bool(run.blocked_by) != run.is_free


@SLOW
@given(clinics(), st.integers(-2_000, 12_000))
def test_the_nearest_starts_are_the_starts_sorted_by_distance(clinic: Clinic, minutes: int) -> None:
    """All providers together, and each alone, from a point in the window, before it or behind it."""
    near_min = clinic.start_min + minutes
    result = search(clinic.static, clinic.busy, query_of(clinic), clinic.now_min, CACHE)
    starts = [(slot.start_min, slot.provider_id) for slot in result]
    expected = sorted(starts, key=lambda pair: (abs(pair[0] - near_min), *pair))
    assert list(result.nearest(near_min)) == expected
    for provider in clinic.static.providers:
        own = [pair for pair in expected if pair[1] == provider.id]
        assert list(result.nearest(near_min, provider.id)) == own
