"""When a verdict on facts still holds for the same facts read again."""

from datetime import datetime, timedelta

import pytest

from booking_svc.usecases.judged_facts import Judged
from scheduling.appointment import AppointmentStatus
from scheduling.busy import BusyFacts
from scheduling.clock import EPOCH
from scheduling.facts import Claim, PatientFacts, PatientVisit, PlannedClaim, ResourceKind

NOW = EPOCH + timedelta(days=20_000, minutes=3, seconds=20)
PLANNED = (PlannedClaim("provider", 1, 100, 130, ResourceKind.PROVIDER, "provider"),)
TAKEN = Claim("provider", 1, 40, 70, "visit")
PATIENT = PatientFacts("patient")


def judged(*claims: Claim, now: datetime = NOW, patient: PatientFacts | None = PATIENT) -> Judged:
    return Judged(BusyFacts.of(claims, patient), now)


def test_the_same_facts_within_a_minute_say_the_same() -> None:
    """What is taken of other resources, and seconds, change nothing."""
    later = judged(TAKEN, Claim("other", 1, 100, 130, "visit"), now=NOW + timedelta(seconds=39))
    assert later.still_says(judged(TAKEN), PLANNED)


@pytest.mark.parametrize(
    "later",
    [
        judged(),
        judged(TAKEN, Claim("provider", 1, 130, 140, "another")),
        judged(TAKEN, patient=None),
        judged(TAKEN, patient=PatientFacts("patient", is_placeholder=True)),
        judged(TAKEN, now=NOW + timedelta(seconds=40)),
        judged(TAKEN, now=NOW + timedelta(seconds=41)),
    ],
)
def test_what_is_new_is_judged_again(later: Judged) -> None:
    """Something given up or taken, another patient, and a whole minute that has come each ask for a new verdict."""
    assert not later.still_says(judged(TAKEN), PLANNED)


def test_holds_are_judged_again() -> None:
    """What ends by itself, whether it is taken or the patient's, may have ended between two looks at the same facts."""
    ends_min = NOW.timestamp() / 60 + 1
    held = judged(Claim("provider", 1, 40, 70, "visit", expires_min=ends_min))
    assert not held.still_says(held, PLANNED)
    visit = PatientVisit("visit", "service", 40, 70, AppointmentStatus.HELD, expires_min=ends_min)
    of_patient = judged(TAKEN, patient=PatientFacts("patient", (visit,)))
    assert not of_patient.still_says(of_patient, PLANNED)
