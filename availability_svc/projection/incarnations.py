"""Notices that the streams have been lost and made anew.

With a stream, events are lost that were published and not projected yet. PostgreSQL has what they said: everything is
read from there again.
"""

import asyncio

import structlog
from nats.js import errors as js_errors

from availability_svc.projection.ports import Listener, Projection
from chassis.bus import Bus
from chassis.publishing import GONE, unavailable
from chassis.streams import STREAMS
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)


class Incarnations:
    """Compares the streams with those that the projections, and this process's memory, are made from."""

    def __init__(self, bus: Bus, projection: Projection, listener: Listener) -> None:
        self._bus = bus
        self._projection = projection
        self._listener = listener
        self._seen = ""

    async def check(self) -> None:
        """Look at the streams, make those that are missing, and forget everything if they are not the same any more.

        Raises Unavailable when the bus is away, or the projections while they are still made from other streams.
        """
        incarnation = await self._incarnation()
        if incarnation == self._seen:
            return
        try:
            if await asyncio.to_thread(self._projection.follow_streams, incarnation, self._seen):
                _log.warning("projection.streams_are_new")
        except Unavailable:
            if self._seen:
                raise
            # Projections that are away mislead nobody; they are looked at as soon as they are there.
            return
        if self._seen:
            self._listener.everything_changed()
        self._seen = incarnation

    async def _incarnation(self) -> str:
        """Return a text that differs whenever one of the streams has been made anew."""
        try:
            return await self._created()
        except js_errors.NotFoundError:
            await self._bus.ensure_streams(STREAMS)
        return await self._created()

    async def _created(self) -> str:
        try:
            found = [await self._bus.jetstream.stream_info(stream.name) for stream in STREAMS]
        except js_errors.NotFoundError:
            raise
        except GONE as error:
            raise unavailable(error) from error
        return "/".join(str(info.created) for info in found)
