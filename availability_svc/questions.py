"""What callers ask, as plain values: the wire makes them, the use cases answer them."""

from dataclasses import dataclass, field
from enum import StrEnum

from scheduling.facts import TimeOfDay
from scheduling.slots import SlotKey, SlotOrder


class Caller(StrEnum):
    """What a caller may see: staff of the clinic, one patient, or anybody."""

    STAFF = "staff"
    PATIENT = "patient"
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForWhom:
    """Whose visit is looked for, and what does not stand in its way."""

    caller: Caller = Caller.STAFF
    caller_patient_id: str = ""
    patient_id: str = ""
    duration_min: int = 0
    hold_token: str = ""
    ignore_appointment_id: str = ""
    consistency_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotQuestion:
    """Which slots. `start` and `end` are local date-times as the caller wrote them."""

    clinic_id: str
    service_id: str
    location_id: str
    start: str
    end: str
    provider_ids: tuple[str, ...] = ()
    preferred: TimeOfDay | None = None
    limit: int = 50
    after: SlotKey | None = None
    order: SlotOrder = SlotOrder.SCORE
    whom: ForWhom = field(default_factory=ForWhom)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextQuestion:
    """Which first slots; no `location_ids` means every location, an empty `after` means now."""

    clinic_id: str
    service_id: str
    location_ids: tuple[str, ...] = ()
    provider_ids: tuple[str, ...] = ()
    after: str = ""
    count: int = 3
    within_days: int = 365
    preferred: TimeOfDay | None = None
    whom: ForWhom = field(default_factory=ForWhom)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeBusyQuestion:
    """Which resource, when; an empty `location_id` means the resource's own."""

    clinic_id: str
    resource_id: str
    location_id: str = ""
    start: str
    end: str
    consistency_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotExplanationQuestion:
    """Which start to explain."""

    clinic_id: str
    service_id: str
    location_id: str
    start: str
    provider_ids: tuple[str, ...] = ()
    whom: ForWhom = field(default_factory=ForWhom)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayExplanationQuestion:
    """Which local day, `YYYY-MM-DD`, to explain."""

    clinic_id: str
    service_id: str
    location_id: str
    date: str
    provider_ids: tuple[str, ...] = ()
    whom: ForWhom = field(default_factory=ForWhom)
