"""Takes events in as they are read and hands messages to the readers of their channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog
from google.protobuf.message import DecodeError
from medforall.events.v1 import events_pb2 as events

from realtime_svc.instruments import Instruments
from realtime_svc.messages import Outgoing, outgoing_of
from realtime_svc.recent import Recent
from realtime_svc.versions import Versions
from scheduling.positions import Position, Source

_log = structlog.get_logger(__name__)


class Reader(Protocol):
    """Somebody who has joined channels. Neither method waits; a reader bounds what it keeps."""

    def offer(self, message: Outgoing, channels: Sequence[str]) -> None:
        """Take a message of `channels`, all of which were joined."""
        ...

    def reset(self, position: Position) -> None:
        """Hear that what came before cannot be told any more, and that one goes on from `position`."""
        ...


class Hub:
    """Who reads which channel of which clinic, and how far the streams have been read.

    All of it happens on one event loop without waiting, so that a join falls between two messages: what comes
    after the position that `join` returns is offered, what comes before is history.
    """

    def __init__(self, instruments: Instruments, *, recent_max: int = 8_192) -> None:
        self._instruments = instruments
        self._recent_max = recent_max
        self._clinics: dict[str, dict[str, dict[Reader, None]]] = {}
        self._joined: dict[Reader, set[tuple[str, str]]] = {}
        self._versions = Versions()
        self.position = Position()
        self.recent = Recent(recent_max, self.position)

    def begin(self, position: Position) -> None:
        """Stand at `position`: the first time, or anew because where it stood means nothing any more.

        Then the streams were made anew, have lost their end, or what comes next was not kept: readers are told.
        """
        is_anew = bool(self.position.epoch)
        self.position = position
        self.recent = Recent(self._recent_max, position)
        if is_anew:
            self._versions.clear()
            _log.warning("hub.reset", sequence=str(position))
            for reader in tuple(self._joined):
                reader.reset(position)

    def accept(self, source: Source, sequence: int, data: bytes, *, is_past: bool = False) -> None:
        """Take in the record `sequence` of `source`; one that was taken already, or again, changes nothing.

        The age of what `is_past`, read to know what came before, is not measured.
        """
        before = self.position
        after = before.after(source, sequence)
        if before.covers(source, after):
            return
        for message in self._messages(source, sequence, data, before, is_past=is_past):
            self.position = message.position
            self.recent.add(message)
            self._deliver(message)
        self.position = after

    def _messages(
        self, source: Source, sequence: int, data: bytes, before: Position, *, is_past: bool
    ) -> list[Outgoing]:
        event = decode(data)
        if event is None:
            self._instruments.events.labels(source, "unreadable").inc()
            _log.error("event.unreadable", stream=source, sequence=sequence)
            return []
        if event.aggregate_version and not self._versions.is_new(event.aggregate_id, event.aggregate_version):
            self._instruments.events.labels(source, "repeated").inc()
            return []
        self._instruments.events.labels(source, "new").inc()
        if not is_past:
            self._instruments.note_age(event.occurred_at)
        return outgoing_of(event, source, sequence, before)

    def _deliver(self, message: Outgoing) -> None:
        joined = self._clinics.get(message.clinic_id)
        if not joined:
            return
        hearers: dict[Reader, list[str]] = {}
        names = message.audience.names if message.audience.is_exact else message.audience.among(joined)
        for name in names:
            for reader in joined.get(name, ()):
                hearers.setdefault(reader, []).append(name)
        for reader, channels in hearers.items():
            reader.offer(message, channels)

    def join(self, reader: Reader, clinic_id: str, channels: Iterable[str]) -> Position:
        """Offer `reader` every message of `channels` after the position that is returned."""
        joined = self._clinics.setdefault(clinic_id, {})
        places = self._joined.setdefault(reader, set())
        for name in channels:
            joined.setdefault(name, {})[reader] = None
            places.add((clinic_id, name))
        return self.position

    def leave(self, reader: Reader, clinic_id: str, channels: Iterable[str]) -> None:
        """Offer `reader` nothing of `channels` any more."""
        places = self._joined.get(reader, set())
        for name in channels:
            if (clinic_id, name) in places:
                places.discard((clinic_id, name))
                self._remove(reader, clinic_id, name)

    def drop(self, reader: Reader) -> None:
        """Forget `reader`."""
        for clinic_id, name in self._joined.pop(reader, set()):
            self._remove(reader, clinic_id, name)

    def _remove(self, reader: Reader, clinic_id: str, name: str) -> None:
        joined = self._clinics[clinic_id]
        del joined[name][reader]
        if not joined[name]:
            del joined[name]
        if not joined:
            del self._clinics[clinic_id]

    @property
    def channel_count(self) -> int:
        """Channels that somebody has joined."""
        return sum(len(joined) for joined in self._clinics.values())


def decode(data: bytes) -> events.Event | None:
    """Read an event, or None when the bytes are none."""
    event = events.Event()
    try:
        event.ParseFromString(data)
    except DecodeError:
        return None
    return event if event.clinic_id and event.type else None
