"""From requests to questions."""

from collections.abc import Iterable
from typing import Final, Protocol

from medforall.availability.v1 import availability_pb2
from medforall.type.v1 import scheduling_pb2

from availability_svc.questions import (
    Caller,
    DayExplanationQuestion,
    ForWhom,
    FreeBusyQuestion,
    NextQuestion,
    SlotExplanationQuestion,
    SlotQuestion,
)
from availability_svc.rpc.pages import parse_page_token
from chassis.auth.principal import Role
from chassis.grpc.context import current_call
from scheduling.facts import TimeOfDay
from scheduling.slots import SlotOrder

_TIMES_OF_DAY: Final = {
    scheduling_pb2.TIME_OF_DAY_UNSPECIFIED: None,
    scheduling_pb2.TIME_OF_DAY_MORNING: TimeOfDay.MORNING,
    scheduling_pb2.TIME_OF_DAY_AFTERNOON: TimeOfDay.AFTERNOON,
    scheduling_pb2.TIME_OF_DAY_EVENING: TimeOfDay.EVENING,
}
_ORDERS: Final = {
    availability_pb2.SLOT_ORDER_UNSPECIFIED: SlotOrder.SCORE,
    availability_pb2.SLOT_ORDER_SCORE: SlotOrder.SCORE,
    availability_pb2.SLOT_ORDER_TIME: SlotOrder.TIME,
}
_LIMIT_DEFAULT: Final = 50
_COUNT_DEFAULT: Final = 3
_WITHIN_DAYS_DEFAULT: Final = 365
_STAFF: Final = ForWhom()


class _WhomFields(Protocol):
    @property
    def patient_id(self) -> str: ...
    @property
    def duration_min(self) -> int: ...
    @property
    def hold_token(self) -> str: ...
    @property
    def ignore_appointment_id(self) -> str: ...
    @property
    def consistency_token(self) -> str: ...


def slot_question(request: availability_pb2.SearchSlotsRequest) -> SlotQuestion:
    """Return what SearchSlots asks. Raises Invalid for a page token of another search."""
    return SlotQuestion(
        clinic_id=request.clinic_id.lower(),
        service_id=request.service_id.lower(),
        location_id=request.location_id.lower(),
        start=request.start,
        end=request.end,
        provider_ids=_ids(request.provider_ids),
        preferred=_TIMES_OF_DAY[request.preferred_time_of_day],
        limit=request.limit or _LIMIT_DEFAULT,
        after=parse_page_token(request),
        order=_ORDERS[request.order_by],
        whom=_whom(request),
    )


def next_question(request: availability_pb2.FindNextAvailableRequest) -> NextQuestion:
    """Return what FindNextAvailable asks."""
    return NextQuestion(
        clinic_id=request.clinic_id.lower(),
        service_id=request.service_id.lower(),
        location_ids=_ids(request.location_ids),
        provider_ids=_ids(request.provider_ids),
        after=request.after,
        count=request.count or _COUNT_DEFAULT,
        within_days=request.within_days or _WITHIN_DAYS_DEFAULT,
        preferred=_TIMES_OF_DAY[request.preferred_time_of_day],
        whom=_whom(request),
    )


def free_busy_question(request: availability_pb2.GetFreeBusyRequest) -> FreeBusyQuestion:
    """Return what GetFreeBusy asks."""
    return FreeBusyQuestion(
        clinic_id=request.clinic_id.lower(),
        resource_id=request.resource_id.lower(),
        location_id=request.location_id.lower(),
        start=request.start,
        end=request.end,
        consistency_token=request.consistency_token,
    )


def explanation_question(request: availability_pb2.ExplainSlotRequest) -> SlotExplanationQuestion:
    """Return what ExplainSlot asks."""
    return SlotExplanationQuestion(
        clinic_id=request.clinic_id.lower(),
        service_id=request.service_id.lower(),
        location_id=request.location_id.lower(),
        start=request.start,
        provider_ids=_ids(request.provider_ids),
        whom=_whom(request),
    )


def day_question(request: availability_pb2.ExplainDayRequest) -> DayExplanationQuestion:
    """Return what ExplainDay asks."""
    return DayExplanationQuestion(
        clinic_id=request.clinic_id.lower(),
        service_id=request.service_id.lower(),
        location_id=request.location_id.lower(),
        date=request.date,
        provider_ids=_ids(request.provider_ids),
        whom=_whom(request),
    )


def _ids(values: Iterable[str]) -> tuple[str, ...]:
    """Return ids as they are written inside, each once."""
    return tuple(dict.fromkeys(value.lower() for value in values))


def _whom(request: _WhomFields) -> ForWhom:
    caller, own_patient_id = _caller()
    asked = (
        request.patient_id,
        request.duration_min,
        request.hold_token,
        request.ignore_appointment_id,
        request.consistency_token,
    )
    if caller is Caller.STAFF and not any(asked):
        return _STAFF
    patient_id, duration_min, hold_token, ignored, token = asked
    return ForWhom(
        caller=caller,
        caller_patient_id=own_patient_id,
        patient_id=patient_id.lower(),
        duration_min=duration_min,
        hold_token=hold_token,
        ignore_appointment_id=ignored.lower(),
        consistency_token=token,
    )


def _caller() -> tuple[Caller, str]:
    """Return what the caller of this call may see, and the patient that it is."""
    principal = current_call().principal
    if principal is None:
        return Caller.ANYBODY, ""
    if principal.role is Role.PATIENT:
        return Caller.PATIENT, principal.patient_id or ""
    return Caller.STAFF, ""
