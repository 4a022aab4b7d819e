"""ExplainSlot and ExplainDay: what every check said, by the code that searches."""

from dataclasses import dataclass

from availability_svc.freshness import Stamp
from availability_svc.layers import Layer
from availability_svc.places import Place
from availability_svc.questions import DayExplanationQuestion, SlotExplanationQuestion
from availability_svc.usecases.reading import Reader, Whom, request_of
from scheduling import localtime
from scheduling.busy import BusyFacts
from scheduling.explain import (
    NEAREST_DAYS,
    ProviderDay,
    SlotExplanation,
    day_window,
    explain_day,
    explain_slot,
    explain_window,
)
from scheduling.facts import SlotRequest
from scheduling.reading import window_of_visit
from scheduling.search import SearchQuery, search
from scheduling.slots import Slot, SlotOrder
from scheduling.timeline import DAY_MIN


@dataclass(frozen=True, slots=True)
class SlotAnswer:
    """Why a start is free or not; `nearest` holds the nearest slot of each provider that has one."""

    place: Place
    explanation: SlotExplanation
    nearest: dict[str, Slot]
    stamp: Stamp
    layer: Layer
    patient_judged: bool


@dataclass(frozen=True, slots=True)
class DayAnswer:
    """A local day, provider by provider."""

    place: Place
    providers: tuple[ProviderDay, ...]
    stamp: Stamp
    layer: Layer
    patient_judged: bool


def explain_start(question: SlotExplanationQuestion, reader: Reader) -> SlotAnswer:
    """Say of one start what every check says for every candidate, and which nearest start works."""
    stamp = reader.stamp()
    place, place_layer = _place(question, reader)
    start_min = localtime.parse_local(question.start, place.zone, "start")
    request, whom = _request(question, place, start_min - NEAREST_DAYS * DAY_MIN, reader)
    window = explain_window(place.static, request, start_min)
    busy, layer = reader.busy(place, request, window, whom)
    now_min = reader.now_min()
    found = explain_slot(place.static, busy, request, start_min, now_min=now_min, cache=reader.cache)
    nearest = {
        one.provider_id: _slot(
            place, busy, request, where=(one.nearest_min, one.provider_id), now_min=now_min, reader=reader
        )
        for one in found.providers
        if one.nearest_min is not None
    }
    return SlotAnswer(
        place=place,
        explanation=found,
        nearest={provider_id: slot for provider_id, slot in nearest.items() if slot is not None},
        stamp=stamp,
        layer=max(layer, place_layer),
        patient_judged=whom.patient is not None,
    )


def explain_local_day(question: DayExplanationQuestion, reader: Reader) -> DayAnswer:
    """Say of a local day which stretches are free for every candidate, and what blocks the others."""
    stamp = reader.stamp()
    place, layer = _place(question, reader)
    day = localtime.parse_date(question.date)
    request, whom = _request(question, place, localtime.day_bounds(place.zone, day)[0], reader)
    window = day_window(place.static, request, day)
    busy = BusyFacts()
    if window is not None:
        busy, busy_layer = reader.busy(place, request, window, whom)
        layer = max(layer, busy_layer)
    found = explain_day(place.static, busy, request, day, now_min=reader.now_min(), cache=reader.cache)
    return DayAnswer(place, found, stamp, layer, whom.patient is not None)


def _place(question: SlotExplanationQuestion | DayExplanationQuestion, reader: Reader) -> tuple[Place, Layer]:
    whom = question.whom
    return reader.place(question.clinic_id, question.location_id, whom.caller, whom.consistency_token)


def _request(
    question: SlotExplanationQuestion | DayExplanationQuestion, place: Place, first_min: int, reader: Reader
) -> tuple[SlotRequest, Whom]:
    """Return what is asked of starts from `first_min` on, and for whom."""
    if question.provider_ids:
        reader.require_providers(place, question.provider_ids, question.whom.consistency_token)
    whom = reader.whom(place, question.service_id, question.whom, first_min)
    return request_of(question.service_id, question.provider_ids, question.whom, whom), whom


def _slot(
    place: Place,
    busy: BusyFacts,
    request: SlotRequest,
    *,
    where: tuple[int, str],
    now_min: float,
    reader: Reader,
) -> Slot | None:
    """Return the slot that a search offers at a provider's start."""
    start_min, provider_id = where
    window = window_of_visit(place.static, request, start_min)
    query = SearchQuery(request, window.start_min, window.end_min, SlotOrder.TIME)
    found = search(place.static, busy, query, now_min, reader.cache)
    return next(
        (slot for slot in found.page(len(place.static.providers)) if slot.provider_id == provider_id), None
    )
