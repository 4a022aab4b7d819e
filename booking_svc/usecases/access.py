"""What a role may do with one appointment, beyond what the contract's options say of the call."""

from __future__ import annotations

from typing import Final

from booking_svc.model import Appointment
from chassis.auth.principal import Principal, Role
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Forbidden, NotFound, Reason, Refused, Stale

OVERRIDE_SCOPE: Final = "override:booking"
_OVERRIDING_ROLES: Final = (Role.ADMIN, Role.FRONT_DESK)

_STEPS_OF_PATIENTS: Final = (AppointmentStatus.CONFIRMED, AppointmentStatus.CANCELED)

ACTIVE, SUSPENDED, ARCHIVED = "active", "suspended", "archived"


def no_such_appointment() -> NotFound:
    """The refusal for what is unknown, another clinic's, or not the caller's to see: they look the same."""
    return NotFound("There is no such appointment.", metadata={"resource": "appointment"})


def is_visible(principal: Principal, visit: Appointment) -> bool:
    """Tell whether the caller may see and change an appointment: a patient its own, a provider its calendar's."""
    if principal.role is Role.PATIENT:
        return principal.patient_id is not None and visit.patient_id == principal.patient_id
    if principal.role is Role.PROVIDER:
        return principal.provider_id is not None and visit.provider_id == principal.provider_id
    return True


def require_visible(principal: Principal, visit: Appointment) -> None:
    """Refuse with NOT_FOUND what the caller may not see."""
    if not is_visible(principal, visit):
        raise no_such_appointment()


def require_may_book(principal: Principal, *, patient_id: str | None) -> None:
    """Refuse a booking or a move that is not for the patient who calls, and every one by a provider."""
    if principal.role is Role.PATIENT and (
        principal.patient_id is None or patient_id != principal.patient_id
    ):
        raise Forbidden("A patient books for itself only.")
    if principal.role is Role.PROVIDER:
        raise Forbidden("A provider moves its visits on; staff and patients book and move them.")


def require_may_step(principal: Principal, to: AppointmentStatus) -> None:
    """Refuse a patient every step but confirming and canceling; the others say what happened at the clinic."""
    if principal.role is Role.PATIENT and to not in _STEPS_OF_PATIENTS:
        raise Forbidden("A patient confirms and cancels its visits; staff moves them on.")


def require_may_override(principal: Principal) -> None:
    """Refuse an override to everybody but staff with the scope."""
    if principal.role not in _OVERRIDING_ROLES or not principal.has_scope(OVERRIDE_SCOPE):
        raise Forbidden(f"Only staff with the scope {OVERRIDE_SCOPE} may book against soft rules.")


def require_open(clinic_status: str, *, may_be_suspended: bool) -> None:
    """Refuse everything in an archived clinic, and all but what gives time back in a suspended one."""
    if clinic_status == ARCHIVED:
        raise NotFound("There is no such clinic.")
    if clinic_status == SUSPENDED and not may_be_suspended:
        raise Refused(
            "This clinic is suspended: it can read and cancel, not book.", reason=Reason.CLINIC_SUSPENDED
        )


def require_etag(visit: Appointment, etag: str) -> None:
    """Refuse a change of something that has changed since the caller read it. An empty tag checks nothing."""
    wanted = etag.strip().removeprefix("W/")
    if wanted in ("", "*") or wanted.strip('"') == str(visit.version):
        return
    raise Stale(
        "The appointment has changed since it was read.",
        reason=Reason.STALE_ETAG,
        metadata={"currentEtag": visit.etag},
    )
