"""The life of an appointment: which state may follow which.

    held ──► scheduled ──► confirmed ──► checked_in ──► in_progress ──► completed
     │  │        │   └──────────────────────▲
     │  │        ├──► canceled  (also from confirmed)
     │  └► expired   └──► no_show   (also from confirmed and checked_in) ──► checked_in, the same local day
     └───► released

A reschedule is not a transition of its own: it leads from held to held, and from scheduled or confirmed to
scheduled.
"""

from enum import StrEnum
from typing import Final

from scheduling.errors import Reason, Refused


class AppointmentStatus(StrEnum):
    """Where in its life an appointment is; the values are what the database and the seed's REST say."""

    HELD = "held"
    SCHEDULED = "scheduled"
    CONFIRMED = "confirmed"
    CHECKED_IN = "checked_in"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELED = "canceled"
    NO_SHOW = "no_show"
    RELEASED = "released"
    EXPIRED = "expired"


_S = AppointmentStatus

TRANSITIONS: Final[dict[AppointmentStatus, frozenset[AppointmentStatus]]] = {
    _S.HELD: frozenset({_S.SCHEDULED, _S.RELEASED, _S.EXPIRED}),
    _S.SCHEDULED: frozenset({_S.CONFIRMED, _S.CHECKED_IN, _S.CANCELED, _S.NO_SHOW}),
    _S.CONFIRMED: frozenset({_S.CHECKED_IN, _S.CANCELED, _S.NO_SHOW}),
    _S.CHECKED_IN: frozenset({_S.IN_PROGRESS, _S.NO_SHOW}),
    _S.IN_PROGRESS: frozenset({_S.COMPLETED}),
    _S.NO_SHOW: frozenset({_S.CHECKED_IN}),
    _S.COMPLETED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.RELEASED: frozenset(),
    _S.EXPIRED: frozenset(),
}

ACTIVE: Final = frozenset({_S.HELD, _S.SCHEDULED, _S.CONFIRMED, _S.CHECKED_IN, _S.IN_PROGRESS})
"""Visits that are going to happen or are happening: they hold all their claims."""

TOOK_PLACE_OR_WILL: Final = ACTIVE | {_S.COMPLETED}
"""Visits that count when the distance between two visits of a patient is measured."""

RESCHEDULABLE: Final = frozenset({_S.HELD, _S.SCHEDULED, _S.CONFIRMED})
"""States from which a visit may move to another time."""


def require_transition(current: AppointmentStatus, wanted: AppointmentStatus) -> None:
    """Refuse with INVALID_TRANSITION unless `wanted` may follow `current`.

    That a no-show is checked in on the same local day and can have its claims again is for the caller to see
    to.
    """
    if wanted not in TRANSITIONS[current]:
        raise _invalid(current, wanted.value)


def status_after_reschedule(current: AppointmentStatus) -> AppointmentStatus:
    """Return the status of a visit that moved: a hold stays one, a confirmed visit is scheduled again."""
    if current not in RESCHEDULABLE:
        raise _invalid(current, "rescheduled")
    return _S.HELD if current is _S.HELD else _S.SCHEDULED


def _invalid(current: AppointmentStatus, wanted: str) -> Refused:
    """Return the refusal of a step from `current` to `wanted`."""
    return Refused(
        f"An appointment that is {current.value} cannot become {wanted}.",
        reason=Reason.INVALID_TRANSITION,
        metadata={"from": current.value, "to": wanted},
    )
