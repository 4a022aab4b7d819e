"""FindNextAvailable: the first slots from now (or a given time) over chosen or all providers and locations."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from availability_svc.freshness import Stamp
from availability_svc.layers import Layer
from availability_svc.places import Place
from availability_svc.questions import NextQuestion
from availability_svc.usecases.reading import Reader, Whom, request_of
from scheduling import localtime
from scheduling.errors import NotFound
from scheduling.facts import SlotRequest
from scheduling.search import SearchQuery, next_windows, search
from scheduling.slots import Slot, SlotOrder
from scheduling.timeline import DAY_MIN, Horizon


@dataclass(frozen=True, slots=True)
class FirstSlots:
    """The first slots, earliest first, each with the place it is at; `place` gives the answer its zone."""

    place: Place
    slots: list[tuple[Place, Slot]]
    stamp: Stamp
    layer: Layer
    patient_judged: bool


def find_next_available(question: NextQuestion, reader: Reader) -> FirstSlots:
    """Return the first slots that can be booked, looking window by window until there are enough."""
    stamp = reader.stamp()
    places, layer = _places(question, reader)
    for place in places[:1]:
        reader.require_providers(place, question.provider_ids, question.whom.consistency_token)
    begins = _begins(places, question, reader)
    whom = reader.whom(places[0], question.service_id, question.whom, min(begins))
    request = request_of(question.service_id, question.provider_ids, question.whom, whom, question.preferred)
    found: dict[tuple[int, str, str], tuple[Place, Slot]] = {}
    for windows in _windows(begins, question.within_days):
        for place, window in zip(places, windows, strict=True):
            if window.end_min <= window.start_min:
                continue
            slots, slots_layer = _first(place, window, request, whom, reader=reader, count=question.count)
            layer = max(layer, slots_layer)
            for slot in slots:
                found.setdefault((slot.start_min, slot.provider_id, place.id), (place, slot))
        if len(found) >= question.count:
            break
    return FirstSlots(
        place=places[0],
        slots=heapq.nsmallest(question.count, found.values(), key=_order),
        stamp=stamp,
        layer=layer,
        patient_judged=whom.patient is not None,
    )


def _places(question: NextQuestion, reader: Reader) -> tuple[list[Place], Layer]:
    clinic_id, whom = question.clinic_id, question.whom
    ids: Sequence[str] = question.location_ids
    layer = Layer.L1
    if not ids:
        ids, layer = reader.location_ids(clinic_id, whom.consistency_token)
    found = [reader.place(clinic_id, location_id, whom.caller, whom.consistency_token) for location_id in ids]
    if not found:
        raise NotFound("The clinic has no location.", metadata={"resource": "location"})
    return [place for place, _ in found], max(layer, *(layer for _, layer in found))


def _begins(places: Sequence[Place], question: NextQuestion, reader: Reader) -> list[int]:
    """Return from when on each place is looked at: a local time is another instant at each."""
    now_min = math.ceil(reader.now_min())
    if not question.after:
        return [now_min] * len(places)
    return [max(now_min, localtime.parse_local(question.after, place.zone, "after")) for place in places]


def _windows(begins: Sequence[int], within_days: int) -> Iterator[list[Horizon]]:
    """Yield window after window, the same for all places but clipped to the time of each: it may be empty.

    So whatever is found in one is earlier than all that the windows after it hold, wherever it is.
    """
    first_min, within_min = min(begins), within_days * DAY_MIN
    days = within_days + -((first_min - max(begins)) // DAY_MIN)
    for window in next_windows(first_min, days):
        yield [
            Horizon(max(window.start_min, begin_min), min(window.end_min, begin_min + within_min))
            for begin_min in begins
        ]


def _first(
    place: Place, window: Horizon, request: SlotRequest, whom: Whom, *, reader: Reader, count: int
) -> tuple[list[Slot], Layer]:
    busy, layer = reader.busy(place, request, window, whom)
    query = SearchQuery(request, window.start_min, window.end_min, SlotOrder.TIME)
    return search(place.static, busy, query, reader.now_min(), reader.cache).page(count), layer


def _order(item: tuple[Place, Slot]) -> tuple[int, int, str, str]:
    place, slot = item
    return slot.start_min, -slot.score, slot.provider_id, place.id
