"""The location of a booking, and its facts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from booking_svc.model import Appointment
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.session import Session, VersionedLocation
from booking_svc.usecases import access
from booking_svc.usecases.commands import Book
from booking_svc.usecases.judged_facts import Question
from database.location_facts import LocationFacts
from scheduling import localtime, timeline, windows
from scheduling.derived import DerivedCache
from scheduling.errors import DomainError, Invalid, NotFound, Reason, Refused
from scheduling.timeline import Horizon

_NARROW_MAX: Final = 4_096
_WHOLE_MAX: Final = 64


Ask = Callable[[LocationFacts], Question]


@dataclass(frozen=True, slots=True)
class Entered:
    """A location's facts and, when they were foreseen, the busy time that was asked for along with them."""

    facts: LocationFacts
    question: Question | None = None


class PlaceKey(NamedTuple):
    """A location as one service sees it, and one provider, or all of them."""

    clinic_id: str
    location_id: str
    service_id: str
    provider_id: str | None


class Remembered:
    """The facts that places had last, at most `size_max`, with the version of the clinic's directory that they are of.

    As long as that is the version, they are not read again, and what is asked of them goes out in the same round trip.
    """

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._last: OrderedDict[PlaceKey, VersionedLocation] = OrderedDict()

    async def read(self, session: Session, key: PlaceKey, ask: Ask | None = None) -> Entered:
        """The facts as they are now, with what is asked of them when they were foreseen. Raises NotFound."""
        last = self._last.get(key)
        if last is not None:
            reply = session.directory_version()
            question = None if ask is None else _asked(ask, last.facts)
            await session.run()
            if reply.get() == last.version:
                self._last.move_to_end(key)
                return Entered(last.facts, question)
        return Entered(await self._read_anew(session, key))

    async def _read_anew(self, session: Session, key: PlaceKey) -> LocationFacts:
        reply = session.versioned_location(
            key.location_id, provider_id=key.provider_id, service_id=key.service_id
        )
        await session.run()
        found = reply.get()
        if found is None:
            self._last.pop(key, None)
            raise NotFound("There is no such location.", metadata={"resource": "location"})
        if found.version is None:  # nothing would tell that they have changed
            return found.facts
        self._last[key] = found
        self._last.move_to_end(key)
        while len(self._last) > self._size_max:
            self._last.popitem(last=False)
        return found.facts


class Places:
    """Finds and reads locations, locked against directory changes where something is to be booked there."""

    def __init__(self, cache: DerivedCache) -> None:
        self._cache = cache
        self._narrow = Remembered(_NARROW_MAX)
        self._whole = Remembered(_WHOLE_MAX)

    async def enter(
        self, session: Session, location_id: str, service_id: str, provider_id: str, ask: Ask | None = None
    ) -> Entered:
        """Lock the directory of a location and service, and return the location's facts.

        Raises NotFound, and Refused for a clinic or location that takes no bookings.
        """
        entered = await self._enter(session, location_id, service_id, provider_id, ask)
        return Entered(in_use(entered.facts), entered.question)

    async def return_to(self, session: Session, visit: Appointment) -> LocationFacts:
        """The same for a visit that has its time already, whether or not its place still takes bookings."""
        entered = await self._enter(session, visit.location_id, visit.service_id, visit.provider_id, None)
        return entered.facts

    async def whole(self, session: Session, location_id: str, service_id: str) -> LocationFacts:
        """A place's facts with all of its providers, whether or not it takes bookings. Raises NotFound.

        What is queued goes out in the same round trip, the only one as long as the directory does not change.
        """
        key = PlaceKey(session.clinic_id, location_id, service_id, None)
        return (await self._whole.read(session, key)).facts

    async def _enter(
        self, session: Session, location_id: str, service_id: str, provider_id: str, ask: Ask | None
    ) -> Entered:
        session.lock_directory([location_id, service_id])
        key = PlaceKey(session.clinic_id, location_id, service_id, provider_id)
        return await self._narrow.read(session, key, ask)

    async def find(self, session: Session, command: Book) -> str:
        """The location of a booking that names none: its room's, or the one where the provider works at that time.

        Raises Invalid unless exactly one is left, and NotFound for a room or provider that the clinic does not have.
        """
        reply = session.places(command.room_id, command.provider_id)
        await session.run()
        found = reply.get()
        if not found:
            await require_known(session, command)
        if len(found) > 1:
            found = await self._working(session, command, found)
        return the_only(found)

    async def _working(self, session: Session, command: Book, location_ids: list[str]) -> list[str]:
        replies = [
            session.location(found, provider_id=command.provider_id, service_id=command.service_id)
            for found in location_ids
        ]
        await session.run()
        known = (reply.get() for reply in replies)
        return working_places((facts for facts in known if facts is not None), command, self._cache)


def working_places(known: Iterable[LocationFacts], command: Book, cache: DerivedCache) -> list[str]:
    """The locations among the known ones where the provider is in at the wanted start."""
    return [facts.static.location.id for facts in known if _works(facts, command, cache)]


def _works(facts: LocationFacts, command: Book, cache: DerivedCache) -> bool:
    static = facts.static
    try:
        start_min = localtime.parse_local(command.start, static.location.zone)
    except DomainError:
        return False
    horizon = Horizon(start_min, start_min + 1)
    provider = next((found for found in static.providers if found.id == command.provider_id), None)
    if provider is None:
        return False
    whole = Horizon(
        start_min // timeline.DAY_MIN * timeline.DAY_MIN,
        (start_min // timeline.DAY_MIN + 1) * timeline.DAY_MIN,
    )
    opened = windows.provider_open(cache, provider.schedule, static.location, whole)
    return timeline.covers(opened, whole, horizon.start_min, horizon.end_min)


def the_only(found: Sequence[str]) -> str:
    """The location that is left. Raises Invalid unless there is exactly one."""
    if len(found) != 1:
        raise Invalid.field(
            "location_id", "is needed: the room or the provider's windows do not leave exactly one"
        )
    return found[0]


async def require_known(session: Session, command: Book) -> None:
    """Refuse a room or provider that the clinic does not have."""
    wanted = {"provider": command.provider_id, "room": command.room_id}
    wanted_ids = [found for found in wanted.values() if found is not None]
    kinds = await DirectoryStore(session).resource_kinds(wanted_ids)
    for kind, resource_id in wanted.items():
        if resource_id is not None and kinds.get(resource_id) != kind:
            raise NotFound(f"There is no such {kind}.", metadata={"resource": kind})


def _asked(ask: Ask, foreseen: LocationFacts) -> Question | None:
    """What is asked of foreseen facts; what is wrong with the request is said when they are known to hold."""
    try:
        return ask(foreseen)
    except DomainError:
        return None


def in_use(facts: LocationFacts) -> LocationFacts:
    """The facts of a place that takes bookings. Raises NotFound and Refused."""
    access.require_open(facts.clinic_status, may_be_suspended=False)
    if not facts.active:
        raise Refused("The location is out of use.", reason=Reason.RESOURCE_INACTIVE)
    return facts
