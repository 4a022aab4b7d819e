"""Demo clinics are the same in every run, about 60 % booked, and every visit is one the engine would have offered."""

from __future__ import annotations

from datetime import date
from itertools import groupby

import pytest

from ctl.seed.clinics import make_clinic
from ctl.seed.plan import ClinicPlan
from ctl.seed.visits import PlannedVisit, make_visits
from ctl.seed.words import clinic_id
from scheduling import localtime, recurrence, timeline, windows
from scheduling.appointment import AppointmentStatus
from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.facts import Claim, PatientFacts, PatientVisit, RoomChoice, RoomMode
from scheduling.judge import Proposal, judge
from scheduling.rules.registry import RULE_KINDS
from scheduling.timeline import Horizon

# The clocks of Berlin and New York go forward within these weeks.
FIRST_DAY = date(2027, 3, 8)
DAYS = 28


def _clinic(number: int) -> tuple[ClinicPlan, list[PlannedVisit]]:
    plan = make_clinic(number, seed=1, first_day=FIRST_DAY)
    return plan, list(make_visits(plan, seed=1, first_day=FIRST_DAY, days=DAYS))


def _claims(visits: list[PlannedVisit]) -> list[Claim]:
    return [
        Claim(claim.resource_id, claim.unit, claim.start_min, claim.end_min, planned.id)
        for planned in visits
        for claim in planned.claims
    ]


def _patient_facts(plan: ClinicPlan, visits: list[PlannedVisit], patient_id: str) -> PatientFacts:
    own = tuple(
        PatientVisit(
            planned.id,
            planned.visit.service_id,
            planned.visit.start_min,
            planned.visit.end_min,
            AppointmentStatus.SCHEDULED,
        )
        for planned in visits
        if planned.visit.patient_id == patient_id
    )
    return PatientFacts(patient_id, own, is_placeholder=patient_id == plan.patients[0].id)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_engine_accepts_every_visit(number: int) -> None:
    """Judged among all the others, with itself out of the way, each visit gets exactly the claims it has."""
    plan, visits = _clinic(number)
    calendars = BusyFacts.of(_claims(visits)).calendars
    cache = DerivedCache()
    now_min = localtime.day_bounds(plan.zone, FIRST_DAY)[0] - 24 * 60
    statics = {location.facts.id: plan.static_facts(location) for location in plan.locations}
    for planned in visits[::8]:
        visit = planned.visit
        assert visit.patient_id is not None
        choice = RoomChoice(RoomMode.SPECIFIC, visit.room_id) if visit.room_id else RoomChoice(RoomMode.AUTO)
        proposal = Proposal(
            visit.service_id,
            visit.provider_id,
            visit.start_min,
            patient_id=visit.patient_id,
            room=choice,
            ignore_appointment_ids=frozenset({planned.id}),
        )
        busy = BusyFacts(calendars, _patient_facts(plan, visits, visit.patient_id))
        verdict = judge(statics[planned.location.facts.id], busy, proposal, now_min, cache)
        assert verdict.refusals == (), verdict.refusals
        assert (verdict.start_min, verdict.end_min) == (visit.start_min, visit.end_min)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_two_claims_touch(number: int) -> None:
    """The same unit of the same resource is never claimed twice at the same time."""
    _, visits = _clinic(number)
    ordered = sorted(_claims(visits), key=lambda claim: (claim.resource_id, claim.unit, claim.start_min))
    for _, claims in groupby(ordered, key=lambda claim: (claim.resource_id, claim.unit)):
        ends = 0
        for claim in claims:
            assert claim.start_min >= ends
            ends = claim.end_min


def test_about_sixty_percent_are_booked() -> None:
    """Of the providers' open time in four weeks, 55 to 65 % is visits, at each location."""
    plan, visits = _clinic(1)
    horizon = Horizon(
        localtime.day_bounds(plan.zone, FIRST_DAY)[0],
        localtime.day_bounds(plan.zone, date(2027, 4, 5))[0],
    )
    for location in plan.locations:
        open_min = sum(
            timeline.count(
                windows.provider_open(DerivedCache(), provider.facts.schedule, location.facts, horizon)
            )
            for provider in plan.providers
            if location.facts.id in provider.location_ids
        )
        booked_min = sum(
            planned.visit.end_min - planned.visit.start_min
            for planned in visits
            if planned.location == location
        )
        assert 0.55 < booked_min / open_min < 0.65


def test_the_same_seed_makes_the_same_clinic() -> None:
    """Plan and visits are equal in every run; another seed makes others, under the same ids."""
    assert _clinic(2) == _clinic(2)
    one = make_clinic(2, seed=1, first_day=FIRST_DAY)
    other = make_clinic(2, seed=2, first_day=FIRST_DAY)
    assert one != other
    assert [found.facts.id for found in one.providers] == [found.facts.id for found in other.providers]
    assert one.id == clinic_id(2)


def test_the_demo_shows_what_the_product_can() -> None:
    """Three zones, two locations each, a provider at both, pools, and every type of rule; all windows are valid."""
    plans = [make_clinic(number, seed=1, first_day=FIRST_DAY) for number in (1, 2, 3)]
    assert [plan.zone for plan in plans] == ["America/New_York", "Europe/Berlin", "Asia/Kolkata"]
    for plan in plans:
        assert len(plan.locations) == 2
        assert any(len(provider.location_ids) == 2 for provider in plan.providers)
        assert any(item.facts.quantity > 1 for item in plan.equipment)
        assert {rule.rule_type for rule in plan.rules} == set(RULE_KINDS)
        for provider in plan.providers:
            for window in provider.facts.schedule.windows:
                recurrence.validate(window.recurrence, window.local_start)
                shown = recurrence.starts_between(
                    window.recurrence,
                    window.local_start,
                    window.local_start,
                    window.local_end,
                )
                assert shown == [window.local_start]


def test_the_shortest_service_is_plain() -> None:
    """First steps take the shortest service without equipment: no rule binds it, so any hour will do."""
    plan = make_clinic(1, seed=1, first_day=FIRST_DAY)
    simple = [service for service in plan.services if not service.requires_equipment]
    shortest = min(simple, key=lambda service: service.facts.duration_min)
    assert all(rule.service_id not in (None, shortest.facts.id) for rule in plan.rules)
