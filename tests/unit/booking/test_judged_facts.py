"""When a verdict on facts still holds once all that it needs is locked."""

from dataclasses import replace
from datetime import timedelta

import pytest

from booking_svc.usecases.judged_facts import Judged, Locked
from scheduling.appointment import AppointmentStatus
from scheduling.busy import BusyFacts
from scheduling.clock import EPOCH
from scheduling.facts import Claim, PatientFacts, PatientVisit, PlannedClaim, ResourceKind

NOW = EPOCH + timedelta(days=20_000, minutes=3, seconds=20)
PLANNED = (
    PlannedClaim("provider", 1, 100, 130, ResourceKind.PROVIDER, "provider"),
    PlannedClaim("gap", 1, 80, 150, ResourceKind.PROVIDER, "provider"),
)
TAKEN = Claim("provider", 1, 40, 70, "visit")
PATIENT = PatientFacts("patient")
VERSIONS = {"provider": 7, "gap": 7, "other": 3}


def judged(*claims: Claim, patient: PatientFacts | None = PATIENT) -> Judged:
    return Judged(BusyFacts.of(claims, patient), NOW, VERSIONS)


def locked(version: int = 8, patient: PatientFacts | None = PATIENT, later_s: int = 0) -> Locked:
    return Locked({"provider": version}, patient, NOW + timedelta(seconds=later_s))


def test_the_same_facts_within_a_minute_hold() -> None:
    """A version that the lock alone has raised, and seconds, change nothing."""
    assert judged(TAKEN).still_holds(PLANNED, locked(later_s=39))


@pytest.mark.parametrize(
    "seen",
    [
        locked(version=9),
        locked(patient=None),
        locked(patient=PatientFacts("patient", is_placeholder=True)),
        locked(later_s=40),
        locked(later_s=41),
    ],
)
def test_what_is_new_is_judged_again(seen: Locked) -> None:
    """A version that somebody else has raised, another patient, and a new minute each ask for a new verdict."""
    assert not judged(TAKEN).still_holds(PLANNED, seen)


def test_a_calendar_of_unknown_version_is_judged_again() -> None:
    """Nobody can say that what was not read is as before."""
    unread = replace(judged(TAKEN), versions={"provider": 7})
    assert not unread.still_holds(PLANNED, locked())


def test_holds_are_judged_again() -> None:
    """What ends by itself, whether it is taken or the patient's, may have ended between two looks at the same facts."""
    ends_min = NOW.timestamp() / 60 + 1
    assert not judged(Claim("gap", 1, 40, 70, "visit", expires_min=ends_min)).still_holds(PLANNED, locked())
    visit = PatientVisit("visit", "service", 40, 70, AppointmentStatus.HELD, expires_min=ends_min)
    patient = PatientFacts("patient", (visit,))
    assert not judged(TAKEN, patient=patient).still_holds(PLANNED, locked(patient=patient))
