"""A verdict stands under the locks only where judging again would give the same one."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, assume, event, find, given, settings
from hypothesis import strategies as st

from booking_svc.usecases.judged_facts import Judged, Locked, limits_of
from scheduling.busy import BusyFacts
from scheduling.clock import EPOCH
from scheduling.derived import DerivedCache
from scheduling.facts import Claim, PatientFacts, ResourceKind
from scheduling.judge import Proposal, Verdict, judge
from scheduling.search import SearchQuery, search
from tests.property.scheduling.clinics import Clinic, clinics

SLOW = settings(
    max_examples=180,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
CACHE = DerivedCache(2_000_000)
VERSION = 7


def lasting(clinic: Clinic) -> Clinic:
    """The clinic with appointments where it has holds."""
    patient = clinic.patient
    if patient is not None:
        visits = tuple(replace(visit, expires_min=None) for visit in patient.visits)
        patient = replace(patient, visits=visits)
    claims = tuple(replace(claim, expires_min=None) for claim in clinic.claims)
    return replace(clinic, claims=claims, patient=patient)


def moment(now_min: float) -> datetime:
    return EPOCH + timedelta(minutes=now_min)


def verdict_of(clinic: Clinic, facts: Judged, proposal: Proposal) -> Verdict:
    return judge(clinic.static, facts.busy, proposal, facts.now_min, CACHE)


@st.composite
def meanwhile(draw: st.DrawFn, clinic: Clinic, chosen: Verdict) -> tuple[Claim, ...]:
    """What is claimed when the locks are held: something more or less, of what was chosen or of anything else."""
    static = clinic.static
    elsewhere = [
        thing.id for things in (static.rooms, static.equipment, static.providers) for thing in things
    ]
    of = st.sampled_from([*(claim.resource_id for claim in chosen.claims), *elsewhere])
    more = [
        Claim(draw(of), draw(st.integers(1, 2)), begin, begin + draw(st.sampled_from([5, 45])), "other")
        for begin in draw(st.lists(st.integers(chosen.start_min - 90, chosen.end_min + 90), max_size=2))
    ]
    given_back = draw(st.sampled_from([None, None, "mine", "a", "b"]))
    return (*(claim for claim in clinic.claims if claim.appointment_id != given_back), *more)


def patient_later(clinic: Clinic) -> st.SearchStrategy[PatientFacts | None]:
    """The patient as before, mostly; else with a visit less, or another one."""
    patient = clinic.patient
    if patient is None:
        return st.none()
    fewer = replace(patient, visits=patient.visits[1:])
    walk_in = replace(patient, is_placeholder=not patient.is_placeholder)
    return st.sampled_from([patient, patient, patient, fewer, walk_in])


def raised(before: Judged, after: Judged, chosen: Verdict) -> dict[str, int]:
    """The versions that the locks give: raised by them, and once more where a calendar has changed."""
    versions = {claim.lock_id: VERSION + 1 for claim in chosen.claims}
    for claim in chosen.claims:
        then, now = (list(facts.busy.claims_of(claim.resource_id)) for facts in (before, after))
        versions[claim.lock_id] += then != now
    return versions


@dataclass(frozen=True, slots=True)
class Case:
    """A verdict, and what there is when its rows are locked."""

    clinic: Clinic
    proposal: Proposal
    before: Judged
    chosen: Verdict
    after: Judged
    locked: Locked

    @property
    def stands(self) -> bool:
        return self.before.still_holds(self.chosen.claims, self.locked)

    @property
    def came_as_foreseen(self) -> bool:
        """What the database compares of a hasty booking: versions, clock, and whether the patient is a placeholder."""
        foreseen = self.before.foreseen(self.chosen.claims)
        if foreseen is None or limits_of(self.clinic.static, self.proposal):
            return False
        then, now = self.before.busy.patient, self.locked.patient
        versions = {lock_id: version + 1 for lock_id, version in foreseen.versions.items()}
        return (
            self.locked.versions == versions
            and self.locked.now < foreseen.before
            and (then and then.is_placeholder) == (now and now.is_placeholder)
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Slots of random clinics that are judged, and what happens before they are locked: mostly nothing."""
    clinic = draw(st.one_of(clinics(), clinics().map(lasting), clinics().map(lasting)))
    query = SearchQuery(clinic.request, clinic.start_min, clinic.end_min)
    slots = list(search(clinic.static, clinic.busy, query, clinic.now_min, CACHE))
    assume(slots)
    slot, request = draw(st.sampled_from(slots)), clinic.request
    proposal = Proposal(
        request.service_id,
        slot.provider_id,
        slot.start_min,
        duration_min=request.duration_min,
        patient_id=request.patient_id,
        ignore_appointment_ids=request.ignore_appointment_ids,
        is_override=draw(st.booleans()),
    )
    before = Judged(BusyFacts.of(clinic.claims, clinic.patient), moment(clinic.now_min))
    chosen = verdict_of(clinic, before, proposal)
    before = replace(before, versions=dict.fromkeys((claim.resource_id for claim in chosen.claims), VERSION))
    later_min = draw(st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.4, 1.0, 3.0]))
    claims, patient = clinic.claims, draw(patient_later(clinic))
    if draw(st.booleans()):
        claims = draw(meanwhile(clinic, chosen))
    after = Judged(BusyFacts.of(claims, patient), moment(clinic.now_min + later_min))
    locked = Locked(raised(before, after, chosen), patient, after.now)
    return Case(clinic, proposal, before, chosen, after, locked)


@SLOW
@given(cases())
def test_a_verdict_that_stands_is_the_one_that_judging_again_gives(case: Case) -> None:
    """Whatever was taken or given back meanwhile, and however much later it is, what stands is judged the same."""
    event(f"stands: {case.stands}, foreseen: {case.came_as_foreseen}")
    if case.stands or case.came_as_foreseen:
        kinds = (ResourceKind.ROOM, ResourceKind.EQUIPMENT)
        kept = frozenset(claim.resource_id for claim in case.chosen.claims if claim.kind in kinds)
        again = verdict_of(case.clinic, case.after, replace(case.proposal, only_resources=kept))
        assert (again.is_accepted, again.claims) == (True, case.chosen.claims)
        assert again.overridden == case.chosen.overridden


@pytest.mark.parametrize("how", ["stands", "came_as_foreseen"])
def test_verdicts_stand_at_times(how: str) -> None:
    """What the test above looks for is found, and also where something else has changed."""
    # Any will do: the simplest one would be looked for by judging hundreds more.
    any_will_do = settings(SLOW, phases=[Phase.generate])
    find(
        cases(), lambda case: getattr(case, how) and case.after.busy != case.before.busy, settings=any_will_do
    )
