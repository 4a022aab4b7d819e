"""A verdict stands under the locks exactly where judging again would give the same one."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from booking_svc.usecases.judged_facts import Judged
from scheduling.busy import BusyFacts
from scheduling.clock import EPOCH
from scheduling.derived import DerivedCache
from scheduling.facts import Claim, ResourceKind
from scheduling.judge import Proposal, Verdict, judge
from scheduling.search import SearchQuery, search
from tests.property.scheduling.clinics import Clinic, clinics

SLOW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
CACHE = DerivedCache(2_000_000)


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


def judged(clinic: Clinic, claims: tuple[Claim, ...], now_min: float) -> Judged:
    return Judged(BusyFacts.of(claims, clinic.patient), moment(now_min))


def verdict_of(clinic: Clinic, facts: Judged, proposal: Proposal) -> Verdict:
    return judge(clinic.static, facts.busy, proposal, facts.now_min, CACHE)


@SLOW
@given(
    st.one_of(clinics(), clinics().map(lasting), clinics().map(lasting)),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.0, 0.001, 0.4, 1.0, 3.0]),
    st.one_of(st.just([]), st.lists(st.tuples(st.integers(0, 9), st.integers(-90, 90)), max_size=2)),
)
def test_a_verdict_that_stands_is_the_one_that_judging_again_gives(
    clinic: Clinic, place: int, later_min: float, taken: list[tuple[int, int]]
) -> None:
    """Whatever was taken meanwhile and however much later it is, facts that still say the same are judged the same."""
    query = SearchQuery(clinic.request, clinic.start_min, clinic.end_min)
    slots = list(search(clinic.static, clinic.busy, query, clinic.now_min, CACHE))
    assume(slots)
    slot = slots[place % len(slots)]
    request = clinic.request
    proposal = Proposal(
        request.service_id,
        slot.provider_id,
        slot.start_min,
        duration_min=request.duration_min,
        patient_id=request.patient_id,
        ignore_appointment_ids=request.ignore_appointment_ids,
    )
    before = judged(clinic, clinic.claims, clinic.now_min)
    chosen = verdict_of(clinic, before, proposal)
    wanted = [chosen.claims[which % len(chosen.claims)] for which, _ in taken if chosen.claims]
    more = tuple(
        Claim(found.resource_id, found.unit, found.start_min + shift, found.end_min + shift, "other")
        for found, (_, shift) in zip(wanted, taken, strict=False)
    )
    after = judged(clinic, clinic.claims + more, clinic.now_min + later_min)
    stands = after.still_says(before, chosen.claims)
    event(f"stands: {stands}")
    if stands:
        kinds = (ResourceKind.ROOM, ResourceKind.EQUIPMENT)
        kept = frozenset(claim.resource_id for claim in chosen.claims if claim.kind in kinds)
        again = verdict_of(clinic, after, replace(proposal, only_resources=kept))
        assert (again.is_accepted, again.claims, again.room_id) == (True, chosen.claims, chosen.room_id)
    assert not (stands and more)
