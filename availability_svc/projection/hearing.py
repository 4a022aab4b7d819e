"""How this process's own memory hears of changes: it follows the streams itself, in order and from now on."""

from collections.abc import Callable
from typing import Final

import structlog
from google.protobuf.message import DecodeError

from availability_svc.projection.events import effects_of
from availability_svc.projection.ports import Listener
from chassis.bus import Bus
from chassis.consumers import OrderedConsumer
from chassis.streams import APPOINTMENTS, DIRECTORY, REPUBLISH
from chassis.supervisor import Loop, Supervisor

_log = structlog.get_logger(__name__)

_STREAMS: Final = (APPOINTMENTS, DIRECTORY, REPUBLISH)


class Hearing:
    """Tells `listener` of every change as it is published.

    While the bus is away nothing is heard; what was missed is caught up with when it is back.
    """

    name = "hearing"

    def __init__(self, bus: Bus, listener: Listener) -> None:
        self._bus = bus
        self._listener = listener
        self._supervisor = Supervisor()
        self._readers = {stream.name: OrderedConsumer(bus, stream.name) for stream in _STREAMS}
        self._next: dict[str, int | None] = {stream.name: None for stream in _STREAMS}

    @property
    def is_hearing(self) -> bool:
        """Tell whether changes reach this process at this moment."""
        return self._bus.is_connected and all(
            reader.is_following.is_set() for reader in self._readers.values()
        )

    def on_fatal(self, callback: Callable[[BaseException], None]) -> None:
        """Tell `callback` of a loop that cannot be kept running."""
        self._supervisor.on_fatal(callback)

    async def start(self) -> None:
        """Begin to follow; returns at once."""
        for stream in _STREAMS:
            self._supervisor.spawn(f"hearing:{stream.name}", self._loop(stream.name))

    async def stop(self) -> None:
        """Stop following."""
        await self._supervisor.stop()

    def _loop(self, stream: str) -> Loop:
        async def follow() -> None:
            if await self._is_elsewhere(stream):
                self._next[stream] = None
            if self._next[stream] is None:
                # What was published before the reader was made may never be heard.
                self._listener.everything_changed()
            async for message in self._readers[stream].messages(self._next[stream]):
                self._next[stream] = message.sequence + 1
                self.hear(message.data)

        return follow

    async def _is_elsewhere(self, stream: str) -> bool:
        """Tell whether the stream ends before what is waited for: then it is another one than it was."""
        wanted = self._next[stream]
        return wanted is not None and wanted > (await self._bus.bounds(stream))[1] + 1

    def hear(self, data: bytes) -> None:
        """Pass on what one event changes."""
        try:
            effects = effects_of(data)
        except DecodeError:
            _log.warning("hearing.not_an_event")
            return
        versions = [(change.calendar_id, change.version) for change in effects.calendars]
        versions += effects.unknown_calendars
        if versions:
            self._listener.calendars_changed(effects.clinic_id, versions)
        if effects.directory is not None:
            self._listener.directory_changed(effects.clinic_id, effects.directory.location_ids)
