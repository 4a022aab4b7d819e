"""The refusals of the domain, each with a machine-readable reason.

The class says what kind of refusal it is (and so which gRPC code and HTTP status it becomes, elsewhere);
the reason says exactly why. Neither messages nor metadata ever hold patient data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why a call was refused. The names are the contract's ErrorReason without its prefix."""

    # The request itself is wrong.
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NONEXISTENT_LOCAL_TIME = "NONEXISTENT_LOCAL_TIME"
    # Something is taken.
    SLOT_ALREADY_BOOKED = "SLOT_ALREADY_BOOKED"
    ROOM_ALREADY_BOOKED = "ROOM_ALREADY_BOOKED"
    EQUIPMENT_UNAVAILABLE = "EQUIPMENT_UNAVAILABLE"
    PATIENT_ALREADY_BOOKED = "PATIENT_ALREADY_BOOKED"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    # The caller acted on something old, or at the same moment as somebody else.
    STALE_AVAILABILITY = "STALE_AVAILABILITY"
    STALE_ETAG = "STALE_ETAG"
    CONCURRENT_BOOKING = "CONCURRENT_BOOKING"
    IDEMPOTENCY_IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
    # A rule or a state says no.
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    MAX_DAILY_REACHED = "MAX_DAILY_REACHED"
    MIN_GAP = "MIN_GAP"
    LEAD_TIME = "LEAD_TIME"
    TOO_FAR_AHEAD = "TOO_FAR_AHEAD"
    BLACKOUT_DATE = "BLACKOUT_DATE"
    PATIENT_LIMIT = "PATIENT_LIMIT"
    PROVIDER_NOT_ALLOWED = "PROVIDER_NOT_ALLOWED"
    ROOM_TYPE = "ROOM_TYPE"
    OUTSIDE_HOURS = "OUTSIDE_HOURS"
    OFF_GRID = "OFF_GRID"
    DURATION_NOT_ALLOWED = "DURATION_NOT_ALLOWED"
    INVALID_TRANSITION = "INVALID_TRANSITION"
    HOLD_EXPIRED = "HOLD_EXPIRED"
    HOLD_TOKEN_MISMATCH = "HOLD_TOKEN_MISMATCH"  # noqa: S105 - the name of a reason, not a secret
    CLINIC_SUSPENDED = "CLINIC_SUSPENDED"
    RESOURCE_INACTIVE = "RESOURCE_INACTIVE"
    WOULD_DISPLACE = "WOULD_DISPLACE"
    LIMIT_REACHED = "LIMIT_REACHED"
    # Who asks.
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_FOUND = "NOT_FOUND"
    # The service itself.
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    OVERLOADED = "OVERLOADED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request and what is wrong with it."""

    field: str
    description: str


class DomainError(Exception):
    """Something the domain refuses.

    `reason` and `metadata` are part of the contract, the message is for people. `details` are objects the
    edge may pack beside the status, such as alternative slots; `retry_after_s` is how long a caller should
    wait before the same call may succeed, where that is known.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL

    def __init__(
        self,
        message: str = "",
        *,
        reason: Reason | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        alternatives: object | None = None,
        details: Sequence[object] = (),
        retry_after_s: float | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.alternatives = alternatives
        self.details = tuple(details)
        self.retry_after_s = retry_after_s

    def __repr__(self) -> str:
        """Name the class, the reason and the message."""
        return f"{type(self).__name__}({self.reason}, {self.message!r})"


class Invalid(DomainError):
    """The request is malformed."""

    default_reason = Reason.INVALID_ARGUMENT

    @classmethod
    def field(cls, name: str, description: str, *, reason: Reason | None = None) -> "Invalid":
        """Return the refusal of one field."""
        return cls(f"{name}: {description}", reason=reason, violations=(FieldViolation(name, description),))


class NonexistentLocalTime(Invalid):
    """The local time does not exist: the clock jumps over it."""

    default_reason = Reason.NONEXISTENT_LOCAL_TIME


class NotFound(DomainError):
    """There is no such thing in this clinic."""

    default_reason = Reason.NOT_FOUND


class Conflict(DomainError):
    """Somebody else holds what was asked for."""

    default_reason = Reason.SLOT_ALREADY_BOOKED


class Stale(DomainError):
    """The caller acted on something that has changed since."""

    default_reason = Reason.CONCURRENT_BOOKING


class Refused(DomainError):
    """A rule or a state says no."""

    default_reason = Reason.INVALID_TRANSITION


class Forbidden(DomainError):
    """The caller may not do this."""

    default_reason = Reason.PERMISSION_DENIED


class Unauthenticated(DomainError):
    """The caller is not known."""

    default_reason = Reason.UNAUTHENTICATED


class TokenExpired(Unauthenticated):
    """The caller's token was good, and its time is over."""


class Exhausted(DomainError):
    """Too many calls, or no room for more work."""

    default_reason = Reason.RATE_LIMIT_EXCEEDED


class Unavailable(DomainError):
    """Something this call depends on is away."""

    default_reason = Reason.UNAVAILABLE


class Expired(DomainError):
    """The deadline passed before the work was done."""

    default_reason = Reason.DEADLINE_EXCEEDED


class Unimplemented(DomainError):
    """This call is not implemented."""

    default_reason = Reason.NOT_IMPLEMENTED
