"""Which claims a visit keeps."""

from __future__ import annotations

from datetime import timedelta

from booking_svc.model import Appointment, HeldClaim
from booking_svc.usecases.existing import Found
from booking_svc.usecases.retained_claims import none_of, quotas_of, without_tail
from scheduling.appointment import AppointmentStatus
from scheduling.clock import instant_of
from scheduling.facts import ResourceKind

START, END = 1_000_000, 1_000_060
PROVIDER = HeldClaim("doctor", ResourceKind.PROVIDER, "doctor", 1, START - 5, END + 10)
PATIENT = HeldClaim("patient", ResourceKind.PATIENT, "patient", 1, START, END)
QUOTA = HeldClaim("quota", ResourceKind.QUOTA, "quota", 1, START - 600, START + 840)


def found(now_min: float) -> Found:
    instant = instant_of(0) + timedelta(minutes=now_min)
    visit = Appointment(
        clinic_id="clinic", id="visit", location_id="here", provider_id="doctor", service_id="service",
        start_min=START, end_min=END, zone="UTC", status=AppointmentStatus.IN_PROGRESS, created_at=instant,
        updated_at=instant,
    )  # fmt: skip
    return Found(visit, (PROVIDER, PATIENT, QUOTA), instant, "active")


def test_a_visit_that_ends_early_gives_the_rest_back() -> None:
    """Twenty minutes early: the buffer after it begins at the end that was, in whole minutes; the quota stays."""
    kept = {claim.resource_id: claim.end_min for claim in without_tail(found(START + 39.5))}
    assert kept == {"doctor": START + 50, "patient": START + 40, "quota": QUOTA.end_min}


def test_a_visit_that_ends_late_has_nothing_to_give() -> None:
    """After its time all claims stay as they are: they are over, or their buffers run."""
    assert without_tail(found(END + 3)) == (PROVIDER, PATIENT, QUOTA)


def test_a_visit_completed_before_its_time_keeps_its_quota_only() -> None:
    """Seen days early, nothing of its time is left to claim."""
    assert without_tail(found(START - 5_000)) == (QUOTA,)


def test_no_shows_keep_quotas_and_cancellations_nothing() -> None:
    """The limit of a day counts who did not come, not who canceled."""
    assert quotas_of(found(START)) == (QUOTA,)
    assert none_of(found(START)) == ()
