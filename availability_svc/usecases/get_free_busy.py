"""GetFreeBusy: when one provider, room or equipment item is open and when it is taken; never by whom."""

from collections.abc import Iterable
from dataclasses import dataclass

from availability_svc.freshness import Stamp
from availability_svc.layers import Layer
from availability_svc.places import Place
from availability_svc.questions import Caller, FreeBusyQuestion
from availability_svc.usecases.reading import Reader, window_between
from scheduling import consistency, timeline, windows
from scheduling.busy import KeptCalendars
from scheduling.errors import NotFound
from scheduling.facts import Equipment, Provider, Room
from scheduling.search import window_of
from scheduling.timeline import Bits, Horizon


@dataclass(frozen=True, slots=True)
class FreeBusy:
    """Runs of open minutes, and runs of taken minutes by unit, earliest first."""

    place: Place
    open: list[tuple[int, int]]
    busy: list[tuple[int, int, int]]
    stamp: Stamp
    layer: Layer


def get_free_busy(question: FreeBusyQuestion, reader: Reader) -> FreeBusy:
    """Return when a resource is open at a location, and when each of its units is taken."""
    stamp = reader.stamp()
    place, place_layer = _place(question, reader)
    window = window_between(place, question.start, question.end)
    window_of(window.start_min, window.end_min, place.zone)
    resource = _resource(question, place, reader)
    calendars, layer = reader.resource_calendars(
        place, question.resource_id, window, consistency.decode(question.consistency_token)
    )
    opened = timeline.NEVER if resource is None else _open(place, resource, window, reader)
    return FreeBusy(
        place=place,
        open=list(timeline.runs(opened, window)),
        busy=sorted(_taken(calendars, question.resource_id, window, reader.now_min())),
        stamp=stamp,
        layer=max(layer, place_layer),
    )


def _place(question: FreeBusyQuestion, reader: Reader) -> tuple[Place, Layer]:
    """Return the location asked for, else the resource's own, else the clinic's first."""
    clinic_id, token, location_id = question.clinic_id, question.consistency_token, question.location_id
    layer = Layer.L1
    if not location_id:
        own = reader.resource_location(clinic_id, question.resource_id, token)[1]
        location_ids, layer = reader.location_ids(clinic_id, token)
        location_id = own or next(iter(location_ids), "")
    if not location_id:
        raise _nowhere()
    place, place_layer = reader.place(clinic_id, location_id, Caller.STAFF, token)
    return place, max(layer, place_layer)


def _resource(question: FreeBusyQuestion, place: Place, reader: Reader) -> Provider | Room | Equipment | None:
    """Return the resource; None for a provider of the clinic that does not work at the location."""
    static = place.static
    things: tuple[Provider | Room | Equipment, ...] = (*static.providers, *static.rooms, *static.equipment)
    for thing in things:
        if thing.id == question.resource_id:
            return thing
    kind, _ = reader.resource_location(question.clinic_id, question.resource_id, question.consistency_token)
    if kind != "provider":
        raise _nowhere()
    return None


def _open(place: Place, resource: Provider | Room | Equipment, window: Horizon, reader: Reader) -> Bits:
    day = timeline.DAY_MIN
    horizon = Horizon(window.start_min // day * day, -(-window.end_min // day) * day)
    location = place.static.location
    if isinstance(resource, Provider):
        found: Bits | None = windows.provider_open(reader.cache, resource.schedule, location, horizon)
    else:
        found = windows.resource_open(reader.cache, resource.schedule, location, horizon)
    if found is None:
        return timeline.always(window)
    return timeline.moved(found, horizon, window)


def _taken(
    calendars: KeptCalendars, resource_id: str, window: Horizon, now_min: float
) -> Iterable[tuple[int, int, int]]:
    """Yield (start, end, unit) runs of taken minutes."""
    units: dict[int, Bits] = {}
    for calendar in calendars.get(resource_id, ()):
        for unit, bits in calendar.units(window, now_min):
            units[unit] = timeline.union(units.get(unit, timeline.NEVER), bits)
    for unit, bits in units.items():
        for start_min, end_min in timeline.runs(bits, window):
            yield start_min, end_min, unit


def _nowhere() -> NotFound:
    return NotFound("There is no such resource.", metadata={"resource": "resource"})
