"""Diaries of imported demo clinics: about 60 % booked, and every visit is one the engine would have offered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

import psycopg
import pytest

from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys
from ctl.seed.facts import ClinicFacts, read_clinic
from ctl.seed.load import SeedOptions, seed_clinics
from ctl.seed.visits import PlannedVisit, make_visits
from ctl.seed.words import clinic_id
from scheduling import localtime, timeline, windows
from scheduling.appointment import AppointmentStatus
from scheduling.busy import BusyFacts
from scheduling.claims import visit_claims
from scheduling.derived import DerivedCache
from scheduling.facts import Claim, PatientFacts, PatientVisit, RoomChoice, RoomMode
from scheduling.judge import Proposal, judge
from scheduling.timeline import Horizon
from tests.support.databases import migrated_database

# The clocks of Berlin and New York go forward within these weeks.
FIRST_DAY = date(2027, 3, 8)
DAYS = 28
KEYS = MasterKeys([MasterKey("test", b"k" * 32)])


def id_of(planned: PlannedVisit) -> str:
    return f"{planned.visit.provider_id}/{planned.visit.start_min}"


@dataclass(frozen=True, slots=True)
class Diary:
    """A clinic and its visits."""

    clinic: ClinicFacts
    visits: list[PlannedVisit]

    def claims(self) -> list[Claim]:
        """The claims of all visits."""
        statics = {static.location.id: static for static in self.clinic.statics}
        return [
            Claim(claim.resource_id, claim.unit, claim.start_min, claim.end_min, id_of(planned))
            for planned in self.visits
            for claim in visit_claims(statics[planned.location.id], planned.visit)
        ]

    def patient_facts(self, patient_id: str) -> PatientFacts:
        """A patient with its visits."""
        own = tuple(
            PatientVisit(
                id_of(planned),
                planned.visit.service_id,
                planned.visit.start_min,
                planned.visit.end_min,
                AppointmentStatus.SCHEDULED,
            )
            for planned in self.visits
            if planned.visit.patient_id == patient_id
        )
        return PatientFacts(patient_id, own, is_placeholder=patient_id in self.clinic.placeholder_ids)


@pytest.fixture(scope="module")
def clinics(postgres_url: str) -> Iterator[list[ClinicFacts]]:
    """Three demo clinics, read back."""
    with migrated_database(postgres_url) as database:
        seed_clinics(database.owner_url, KEYS, SeedOptions(clinics=3, days=1, first_day=FIRST_DAY))
        with psycopg.connect(database.owner_url) as owner:
            yield [read_clinic(owner, clinic_id(number)) for number in (1, 2, 3)]


@pytest.fixture(params=[1, 2, 3])
def diary(clinics: list[ClinicFacts], request: pytest.FixtureRequest) -> Diary:
    """The diary of each clinic."""
    clinic = clinics[request.param - 1]
    return Diary(clinic, list(make_visits(clinic, seed=1, first_day=FIRST_DAY, days=DAYS)))


def test_the_engine_accepts_every_visit(diary: Diary) -> None:
    """Judged among all the others, with itself out of the way, each visit gets exactly the time it has."""
    calendars = BusyFacts.of(diary.claims()).calendars
    cache = DerivedCache()
    now_min = localtime.day_bounds(diary.clinic.zone, FIRST_DAY)[0] - 24 * 60
    statics = {static.location.id: static for static in diary.clinic.statics}
    for planned in diary.visits[::8]:
        visit = planned.visit
        assert visit.patient_id is not None
        choice = RoomChoice(RoomMode.SPECIFIC, visit.room_id) if visit.room_id else RoomChoice(RoomMode.AUTO)
        proposal = Proposal(
            visit.service_id,
            visit.provider_id,
            visit.start_min,
            patient_id=visit.patient_id,
            room=choice,
            ignore_appointment_ids=frozenset({id_of(planned)}),
        )
        busy = BusyFacts(calendars, diary.patient_facts(visit.patient_id))
        verdict = judge(statics[planned.location.id], busy, proposal, now_min, cache)
        assert verdict.refusals == (), verdict.refusals
        assert (verdict.start_min, verdict.end_min) == (visit.start_min, visit.end_min)


def test_no_two_claims_touch(diary: Diary) -> None:
    """The same unit of the same resource is never claimed twice at the same time."""
    ordered = sorted(diary.claims(), key=lambda claim: (claim.resource_id, claim.unit, claim.start_min))
    for _, claims in groupby(ordered, key=lambda claim: (claim.resource_id, claim.unit)):
        ends = 0
        for claim in claims:
            assert claim.start_min >= ends
            ends = claim.end_min


def test_about_sixty_percent_are_booked(diary: Diary) -> None:
    """Of the providers' open time in four weeks, 55 to 65 % is visits, at each location."""
    zone = diary.clinic.zone
    ends = localtime.day_bounds(zone, FIRST_DAY + timedelta(days=DAYS))[0]
    horizon = Horizon(localtime.day_bounds(zone, FIRST_DAY)[0], ends)
    for static in diary.clinic.statics:
        open_min = sum(
            timeline.count(windows.provider_open(DerivedCache(), provider.schedule, static.location, horizon))
            for provider in static.providers
        )
        booked_min = sum(
            planned.visit.end_min - planned.visit.start_min
            for planned in diary.visits
            if planned.location == static.location
        )
        assert 0.55 < booked_min / open_min < 0.65


def test_the_same_seed_makes_the_same_diary(diary: Diary) -> None:
    """Visits are equal in every run; another seed makes others."""
    again = list(make_visits(diary.clinic, seed=1, first_day=FIRST_DAY, days=DAYS))
    assert again == diary.visits
    assert list(make_visits(diary.clinic, seed=2, first_day=FIRST_DAY, days=DAYS)) != diary.visits
