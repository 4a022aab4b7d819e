"""What availability a change of the directory may touch: where, whose, and between which instants.

Whatever is not known is left open: told too much, a reader fetches in vain; told too little, it shows what is not so.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from booking_svc.directory.entities import PROVIDER_WINDOW, Entity, Entry, Kind
from scheduling import localtime
from scheduling.clock import instant_of

_AT_ONE_PLACE: Final = frozenset({Kind.ROOM, Kind.CLOSURE, Kind.EQUIPMENT, Kind.WINDOW})
OF_A_TIME: Final = frozenset({Kind.CLOSURE, Kind.WINDOW})
_PROVIDER_FIELD: Final = {Kind.PREFERENCE: "provider_id", Kind.SERVICE_RULE: "provider_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """No locations: all of the clinic. No provider: any. No instant: open on that side."""

    location_ids: tuple[str, ...] = ()
    provider_id: str = ""
    first: datetime | None = None
    end: datetime | None = None


EVERYWHERE: Final = Reach()


@dataclass(frozen=True, slots=True)
class Change:
    """An entry after a change, and before it unless it is new."""

    entity: Entity
    entry: Entry
    before: Entry | None = None

    @property
    def versions(self) -> tuple[Entry, ...]:
        """What availability was and is judged by."""
        return (self.entry,) if self.before is None else (self.before, self.entry)


def reach_of(change: Change, zone_of: Mapping[str, str], place_of: Mapping[str, str]) -> Reach:
    """The reach of a change, given the zone of each location and the location of each room and item that has one."""
    location_ids = _locations(change, place_of)
    first, end = None, None
    if change.entity.kind in OF_A_TIME:
        zones = {zone_of[id_] for id_ in location_ids} if location_ids else set(zone_of.values())
        first, end = _span(change.versions, zones)
    return Reach(location_ids=location_ids, provider_id=_provider(change), first=first, end=end)


def _locations(change: Change, place_of: Mapping[str, str]) -> tuple[str, ...]:
    kind = change.entity.kind
    if kind is Kind.LOCATION:
        return (change.entry.id,)
    if kind not in _AT_ONE_PLACE:
        return ()
    places = {_place(change.entity, version, place_of) for version in change.versions}
    return tuple(sorted(places)) if all(places) else ()


def _place(entity: Entity, version: Entry, place_of: Mapping[str, str]) -> str:
    """Where an entry is; a window of a room or an item is where that is. Empty: anywhere."""
    if entity.kind is Kind.WINDOW and entity is not PROVIDER_WINDOW:
        return place_of.get(version.record["resource_id"]) or ""
    return version.record.get("location_id") or ""


def _provider(change: Change) -> str:
    """Whose a change is; what moved from one to another is anybody's."""
    providers = {_whose(change.entity, version) for version in change.versions}
    return providers.pop() if len(providers) == 1 else ""


def _whose(entity: Entity, version: Entry) -> str:
    if entity.kind is Kind.PROVIDER:
        return version.id
    if entity is PROVIDER_WINDOW:
        return str(version.record["resource_id"])
    return version.record.get(_PROVIDER_FIELD.get(entity.kind, "")) or ""


def _span(versions: Sequence[Entry], zones: set[str]) -> tuple[datetime | None, datetime | None]:
    """From the first beginning to the last end in any of the zones; what recurs, or is far, is open."""
    firsts = _instants(versions, zones, "start")
    recurs = any(version.record.get("recurrence_rule") for version in versions)
    ends = [] if recurs else _instants(versions, zones, "end")
    return min(firsts, default=None), max(ends, default=None)


def _instants(versions: Sequence[Entry], zones: set[str], name: str) -> list[datetime]:
    """What the field of each version means in each zone; nothing when one is far, as entries of old may be."""
    walls = [datetime.fromisoformat(version.record[name]) for version in versions]
    if any(localtime.is_far(wall) for wall in walls):
        return []
    return [
        instant_of(localtime.instant_at(zone, localtime.wall_minute(wall)))
        for wall in walls
        for zone in zones
    ]
