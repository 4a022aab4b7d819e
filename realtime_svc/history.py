"""What was missed: from memory, else from the streams themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from medforall.realtime.v1 import realtime_pb2 as wire

from realtime_svc.hub import Hub, decode
from realtime_svc.instruments import Instruments
from realtime_svc.messages import Outgoing, outgoing_of
from realtime_svc.versions import Versions
from scheduling.positions import Position, Source

EVERY_CLINIC: Final = "*"
"""In place of a clinic's id, when records of all of them are read."""

_OVERLAP: Final = 2_000
"""Records read before the position, so that a copy published after it is known for one."""


@dataclass(frozen=True, slots=True)
class Record:
    """One message of a stream; `time_ns` is when the stream took it, nanoseconds since the epoch."""

    sequence: int
    time_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the streams hold: the oldest and the newest sequence of each, and which incarnation they are."""

    first: Position
    last: Position

    def holds(self, position: Position) -> bool:
        """Whether everything after `position` is still kept."""
        return (
            position.appointments + 1 >= self.first.appointments
            and position.directory + 1 >= self.first.directory
        )


class EventLog(Protocol):
    """The two streams."""

    async def bounds(self) -> Bounds:
        """What the streams hold now. Raises Unavailable."""
        ...

    def read(self, source: Source, clinic_id: str, first: int, last: int) -> AsyncIterator[Record]:
        """The clinic's records with sequences `[first, last]`, in order, then end. Raises Unavailable."""
        ...


async def read_by_time(
    log: EventLog, spans: Mapping[Source, tuple[int, int]], clinic_id: str, *, records_max: int
) -> list[tuple[Source, Record]] | None:
    """The records of `[first, last]` of each stream, both merged by time; None when there are too many of them."""
    merged: list[tuple[Source, Record]] = []
    for source, (first, last) in spans.items():
        async for record in log.read(source, clinic_id, first, last):
            merged.append((source, record))
            if len(merged) > records_max:
                return None
    merged.sort(key=lambda item: (item[1].time_ns, item[0], item[1].sequence))
    return merged


class Missed:
    """What a reader missed, or why it cannot be told."""

    __slots__ = ("messages", "resync")

    def __init__(self, messages: list[Outgoing], resync: wire.ResyncReason.ValueType | None = None) -> None:
        self.messages = messages
        self.resync = resync


class History:
    """Answers what happened on some channels between two positions."""

    def __init__(
        self, hub: Hub, log: EventLog, instruments: Instruments, *, messages_max: int, reads_max: int = 8
    ) -> None:
        self._hub = hub
        self._log = log
        self._instruments = instruments
        self._messages_max = messages_max
        self._reads = asyncio.Semaphore(reads_max)

    async def between(
        self, start: Position, end: Position, clinic_id: str, channels: Collection[str]
    ) -> Missed:
        """The messages of `channels` after `start` up to `end`, in order, each once. Raises Unavailable."""
        if start.epoch and start.epoch != end.epoch:
            return self._resync(wire.RESYNC_REASON_RESET)
        start = Position(start.appointments, start.directory, start.part, end.epoch)
        # From a position beyond `end` nothing was missed, unless the streams have lost their end: they know.
        recent = self._hub.recent.since(start, clinic_id) if end.reaches(start) else None
        if recent is None:
            async with self._reads:
                return await self._from_log(start, end, clinic_id, channels)
        until_end = (message for message in recent if end.covers(message.source, message.position))
        return self._chosen("memory", [message for message in until_end if message.audience.among(channels)])

    async def _from_log(
        self, start: Position, end: Position, clinic_id: str, channels: Collection[str]
    ) -> Missed:
        bounds = await self._log.bounds()
        if bounds.last.epoch != end.epoch or not bounds.last.reaches(
            Position(start.appointments, start.directory)
        ):
            return self._resync(wire.RESYNC_REASON_RESET)
        if not bounds.holds(start):
            return self._resync(wire.RESYNC_REASON_EXPIRED)
        found = await self._read_both(start, end, clinic_id)
        if found is None:
            return self._resync(wire.RESYNC_REASON_TOO_MUCH)
        return self._chosen("stream", [message for message in found if message.audience.among(channels)])

    async def _read_both(self, start: Position, end: Position, clinic_id: str) -> list[Outgoing] | None:
        """Both streams merged by time; None when there is too much of it."""
        spans = {
            Source.APPOINTMENTS: (start.appointments + 1, end.appointments),
            Source.DIRECTORY: (start.directory + 1, end.directory),
        }
        earlier = {
            source: (max(1, first - _OVERLAP), last)
            for source, (first, last) in spans.items()
            if first <= last
        }
        merged = await read_by_time(
            self._log, earlier, clinic_id, records_max=_OVERLAP + 10 * self._messages_max
        )
        return None if merged is None else _messages(merged, start)

    def _chosen(self, origin: str, messages: list[Outgoing]) -> Missed:
        if len(messages) > self._messages_max:
            return self._resync(wire.RESYNC_REASON_TOO_MUCH)
        self._instruments.replays.labels(origin).inc()
        return Missed(messages)

    def _resync(self, reason: wire.ResyncReason.ValueType) -> Missed:
        self._instruments.replays.labels("resync").inc()
        return Missed([], reason)


def _messages(records: list[tuple[Source, Record]], start: Position) -> list[Outgoing]:
    """The messages after `start` of both streams' records, copies left out."""
    versions, at, found = Versions(), start, []
    for source, record in records:
        event = decode(record.data)
        if event is None:
            continue
        is_new = not event.aggregate_version or versions.is_new(event.aggregate_id, event.aggregate_version)
        if is_new:
            made = outgoing_of(event, source, record.sequence, at)
            found += [message for message in made if not start.covers(source, message.position)]
        if not at.covers(source, at.after(source, record.sequence)):
            at = at.after(source, record.sequence)
    return found
