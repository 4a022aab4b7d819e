"""A verdict stands under the locks only where judging again would give the same one."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from booking_svc.usecases.judged_facts import Judged, Locked
from scheduling.busy import BusyFacts
from scheduling.clock import EPOCH
from scheduling.derived import DerivedCache
from scheduling.facts import Claim, PatientFacts, ResourceKind
from scheduling.judge import Proposal, Verdict, judge
from scheduling.search import SearchQuery, search
from tests.property.scheduling.clinics import Clinic, clinics

SLOW = settings(
    max_examples=150,
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


@SLOW
@given(st.one_of(clinics(), clinics().map(lasting), clinics().map(lasting)), st.data())
def test_a_verdict_that_stands_is_the_one_that_judging_again_gives(
    clinic: Clinic, data: st.DataObject
) -> None:
    """Whatever was taken or given back meanwhile, and however much later it is, what stands is judged the same."""
    query = SearchQuery(clinic.request, clinic.start_min, clinic.end_min)
    slots = list(search(clinic.static, clinic.busy, query, clinic.now_min, CACHE))
    assume(slots)
    slot = data.draw(st.sampled_from(slots))
    request = clinic.request
    proposal = Proposal(
        request.service_id,
        slot.provider_id,
        slot.start_min,
        duration_min=request.duration_min,
        patient_id=request.patient_id,
        ignore_appointment_ids=request.ignore_appointment_ids,
        is_override=data.draw(st.booleans()),
    )
    before = Judged(
        BusyFacts.of(clinic.claims, clinic.patient), moment(clinic.now_min), defaultdict(lambda: VERSION)
    )
    chosen = verdict_of(clinic, before, proposal)
    later_min = data.draw(st.sampled_from([0.0, 0.0, 0.001, 0.4, 1.0, 3.0]))
    claims, patient = data.draw(meanwhile(clinic, chosen)), data.draw(patient_later(clinic))
    after = Judged(BusyFacts.of(claims, patient), moment(clinic.now_min + later_min))
    locked = Locked(raised(before, after, chosen), patient, after.now)
    stands = before.still_holds(chosen.claims, locked)
    event(f"stands: {stands}, as before: {claims == clinic.claims}")
    if stands:
        kinds = (ResourceKind.ROOM, ResourceKind.EQUIPMENT)
        kept = frozenset(claim.resource_id for claim in chosen.claims if claim.kind in kinds)
        again = verdict_of(clinic, after, replace(proposal, only_resources=kept))
        assert (again.is_accepted, again.claims, again.overridden) == (True, chosen.claims, chosen.overridden)
