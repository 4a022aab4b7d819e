"""The two event streams in JetStream: what they hold, a piece of them, and following them."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from nats.js import errors as js_errors
from nats.js.api import StreamInfo

from chassis.bus import Bus
from chassis.consumers import OrderedConsumer
from chassis.publishing import GONE, unavailable
from chassis.streams import APPOINTMENTS, DIRECTORY
from realtime_svc.history import Bounds, Record
from scheduling.positions import Position, Source

_STREAMS: Final = {Source.APPOINTMENTS: APPOINTMENTS.name, Source.DIRECTORY: DIRECTORY.name}
_SUBJECTS: Final = {
    Source.APPOINTMENTS: "medforall.appointment.{clinic_id}.>",
    Source.DIRECTORY: "medforall.directory.{clinic_id}.>",
}
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class JetStreamLog:
    """Reads the streams; every method raises Unavailable while the bus is away."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ensure(self) -> None:
        """Make the streams unless they exist."""
        await self._bus.ensure_streams((APPOINTMENTS, DIRECTORY))

    async def bounds(self) -> Bounds:
        """What the streams hold now; the epoch is made of when each was created."""
        appointments = await self._info(Source.APPOINTMENTS)
        directory = await self._info(Source.DIRECTORY)
        epoch = _epoch(f"{appointments.created}/{directory.created}")
        return Bounds(
            first=Position(appointments.state.first_seq, directory.state.first_seq, 0, epoch),
            last=Position(appointments.state.last_seq, directory.state.last_seq, 0, epoch),
        )

    async def _info(self, source: Source) -> StreamInfo:
        try:
            return await self._bus.jetstream.stream_info(_STREAMS[source])
        except GONE as error:
            raise unavailable(error) from error

    async def read(self, source: Source, clinic_id: str, first: int, last: int) -> AsyncIterator[Record]:
        """The clinic's records with sequences `[first, last]`, in order, then end."""
        subject = _SUBJECTS[source].format(clinic_id=clinic_id)
        newest = await self._newest(source, subject)
        if newest < first or first > last:
            return
        consumer = OrderedConsumer(self._bus, _STREAMS[source], (subject,), batch=256)
        async with aclosing(consumer.messages(first)) as messages:  # type: ignore[type-var]
            async for message in messages:
                if message.sequence > last:
                    return
                yield Record(message.sequence, int(message.published_at.timestamp() * 1e9), message.data)
                if message.sequence >= min(newest, last):
                    return

    async def _newest(self, source: Source, subject: str) -> int:
        """The sequence of the newest record of `subject`; 0 when there is none."""
        try:
            newest = await self._bus.jetstream.get_last_msg(_STREAMS[source], subject)
        except js_errors.NotFoundError:
            return 0
        except GONE as error:
            raise unavailable(error) from error
        return newest.seq or 0

    async def follow(self, source: Source, first: int) -> AsyncIterator[tuple[int, bytes]]:
        """Every record from sequence `first` on as it comes; ends never."""
        consumer = OrderedConsumer(self._bus, _STREAMS[source])
        async with aclosing(consumer.messages(first)) as messages:  # type: ignore[type-var]
            async for message in messages:
                yield message.sequence, message.data


def _epoch(text: str) -> str:
    """A short name for one incarnation of the streams."""
    number, digits = zlib.crc32(text.encode()), ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
