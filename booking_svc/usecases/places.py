"""The location of a booking, and its facts."""

from __future__ import annotations

from booking_svc.store.session import Session
from booking_svc.usecases import access
from booking_svc.usecases.commands import Book
from database.location_facts import LocationFacts
from scheduling import localtime, timeline, windows
from scheduling.derived import DerivedCache
from scheduling.errors import DomainError, Invalid, NotFound, Reason, Refused
from scheduling.timeline import Horizon


class Places:
    """Reads locations, locked against directory changes."""

    def __init__(self, cache: DerivedCache) -> None:
        self._cache = cache

    async def enter(
        self, session: Session, location_id: str, service_id: str, provider_id: str
    ) -> LocationFacts:
        """Lock the directory of a location and service, set the savepoint, and return the location's facts.

        Raises NotFound, and Refused for a clinic or location that takes no bookings.
        """
        session.lock_directory([location_id, service_id])
        session.savepoint()
        reply = session.location(location_id, provider_id=provider_id, service_id=service_id)
        await session.run()
        facts = reply.get()
        if facts is None:
            raise NotFound("There is no such location.", metadata={"resource": "location"})
        access.require_open(facts.clinic_status, may_be_suspended=False)
        if not facts.active:
            raise Refused("The location is out of use.", reason=Reason.RESOURCE_INACTIVE)
        return facts

    async def find(self, session: Session, command: Book) -> str:
        """The location of a booking that names none: its room's, or the one where the provider works at that time.

        Raises Invalid unless exactly one is left.
        """
        reply = session.places(command.room_id, command.provider_id)
        await session.run()
        found = reply.get()
        if len(found) > 1:
            found = await self._working(session, command, found)
        if len(found) != 1:
            raise Invalid.field(
                "location_id", "is needed: the room or the provider's windows do not leave exactly one"
            )
        return found[0]

    async def _working(self, session: Session, command: Book, location_ids: list[str]) -> list[str]:
        replies = [
            session.location(found, provider_id=command.provider_id, service_id=command.service_id)
            for found in location_ids
        ]
        await session.run()
        known = (reply.get() for reply in replies)
        return [
            facts.static.location.id for facts in known if facts is not None and self._works(facts, command)
        ]

    def _works(self, facts: LocationFacts, command: Book) -> bool:
        """Whether the provider is in at the wanted start."""
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
        opened = windows.provider_open(self._cache, provider.schedule, static.location, whole)
        return timeline.covers(opened, whole, horizon.start_min, horizon.end_min)
