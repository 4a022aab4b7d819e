"""SearchSlots: every bookable slot of a service at a location in a window, page by page."""

from dataclasses import dataclass

from availability_svc.freshness import Stamp
from availability_svc.layers import Layer
from availability_svc.places import Place
from availability_svc.questions import SlotQuestion
from availability_svc.usecases.reading import Reader, request_of, window_between
from scheduling.search import SearchQuery, search, window_of
from scheduling.slots import Slot, SlotKey


@dataclass(frozen=True, slots=True)
class SlotPage:
    """A page of slots. `more_after` is where the next one begins, None on the last page."""

    place: Place
    slots: list[Slot]
    total: int
    more_after: SlotKey | None
    stamp: Stamp
    layer: Layer
    patient_judged: bool


def search_slots(question: SlotQuestion, reader: Reader) -> SlotPage:
    """Answer a search: what is returned can be booked at this snapshot, and nothing that can is left out."""
    whom = question.whom
    token = whom.consistency_token
    place, place_layer = reader.place(question.clinic_id, question.location_id, whom.caller, token)
    window = window_between(place, question.start, question.end)
    window_of(window.start_min, window.end_min, place.zone)
    if question.provider_ids:
        reader.require_providers(place, question.provider_ids, token)
    found_whom = reader.whom(place, question.service_id, whom, window.start_min)
    request = request_of(question.service_id, question.provider_ids, whom, found_whom, question.preferred)
    stamp = reader.stamp()
    busy, layer = reader.busy(place, request, window, found_whom)
    query = SearchQuery(request, window.start_min, window.end_min, question.order)
    result = search(place.static, busy, query, reader.now_min(), reader.cache)
    slots = result.page(question.limit + 1, question.after)
    more_after = None
    if len(slots) > question.limit:
        slots.pop()
        last = slots[-1]
        more_after = SlotKey(last.start_min, last.provider_id, last.score)
    return SlotPage(
        place=place,
        slots=slots,
        total=result.total,
        more_after=more_after,
        stamp=stamp,
        layer=max(layer, place_layer),
        patient_judged=found_whom.patient is not None,
    )
