"""Slots on the wire, written straight into protobuf's bytes.

A page of slots repeats itself: the same providers, rooms, half hours and scores. Each of these is encoded once and
kept; a slot is then five pieces joined. A test holds the bytes against what the generated classes read from them.
"""

from collections.abc import Iterable
from typing import Final

from medforall.type.v1 import scheduling_pb2

from availability_svc.places import Place
from scheduling import localtime
from scheduling.slots import Slot

_TIMES_MAX: Final = 200_000
_FIELD_1: Final = b"\x0a"  # length-delimited: the repeated field of every reply that holds slots
_SCORES: Final = tuple(scheduling_pb2.Slot(score=score).SerializeToString() for score in range(101))


class SlotWriter:
    """Encodes slots. Safe between threads: at worst two of them encode the same piece."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, int, int], bytes] = {}

    def write(self, place: Place, slots: Iterable[Slot]) -> bytes:
        """Return the slots as the repeated field 1 of a reply."""
        prepared = place.prepared
        who: dict[str, bytes] = prepared.setdefault("providers", {})
        where: dict[tuple[str, ...], bytes] = prepared.setdefault("rooms", {})
        times, zone = self._times, place.zone
        location = prepared.get("location") or self._location(place)
        parts: list[bytes] = []
        for start_min, end_min, provider_id, room_ids, score in slots:
            body = b"".join(
                (
                    times.get((zone, start_min, end_min)) or self._time(zone, start_min, end_min),
                    who.get(provider_id) or self._provider(place, provider_id),
                    where[room_ids] if room_ids in where else self._rooms(place, room_ids),
                    _SCORES[score],
                    location,
                )
            )
            parts += (_FIELD_1, _length(len(body)), body)
        return b"".join(parts)

    def message(self, place: Place, slot: Slot) -> scheduling_pb2.Slot:
        """Return one slot as a message."""
        body = (
            self._time(place.zone, slot.start_min, slot.end_min)
            + self._provider(place, slot.provider_id)
            + self._rooms(place, slot.room_ids)
            + _SCORES[slot.score]
            + self._location(place)
        )
        return scheduling_pb2.Slot.FromString(body)

    def _time(self, zone: str, start_min: int, end_min: int) -> bytes:
        if len(self._times) >= _TIMES_MAX:
            self._times.clear()
        slot = scheduling_pb2.Slot(
            start=localtime.format_local(zone, start_min), end=localtime.format_local(zone, end_min)
        )
        slot.start_utc.seconds = start_min * 60
        slot.end_utc.seconds = end_min * 60
        found = self._times[zone, start_min, end_min] = slot.SerializeToString()
        return found

    def _provider(self, place: Place, provider_id: str) -> bytes:
        slot = scheduling_pb2.Slot(provider=provider_summary(place, provider_id))
        pieces: dict[str, bytes] = place.prepared.setdefault("providers", {})
        found = pieces[provider_id] = slot.SerializeToString()
        return found

    def _rooms(self, place: Place, room_ids: tuple[str, ...]) -> bytes:
        labels = place.facts.rooms
        options = [
            scheduling_pb2.RoomOption(id=room_id, name=labels[room_id].name, type=labels[room_id].detail)
            for room_id in room_ids
        ]
        pieces: dict[tuple[str, ...], bytes] = place.prepared.setdefault("rooms", {})
        if len(pieces) >= _TIMES_MAX // 100:
            pieces.clear()
        found = pieces[room_ids] = scheduling_pb2.Slot(room_options=options).SerializeToString()
        return found

    def _location(self, place: Place) -> bytes:
        found: bytes = scheduling_pb2.Slot(location_id=place.id).SerializeToString()
        place.prepared["location"] = found
        return found


def provider_summary(place: Place, provider_id: str) -> scheduling_pb2.ProviderSummary:
    """Return a provider as anybody who may search sees it."""
    label = place.provider_labels.get(provider_id)
    if label is None:
        return scheduling_pb2.ProviderSummary(id=provider_id)
    return scheduling_pb2.ProviderSummary(id=provider_id, name=label.name, specialty=label.detail)


def length_delimited(body: bytes) -> bytes:
    """Return one element of a repeated field 1."""
    return _FIELD_1 + _length(len(body)) + body


def _length(size: int) -> bytes:
    """Return a length as a varint."""
    if size < 0x80:
        return bytes((size,))
    if size < 0x4000:
        return bytes((size & 0x7F | 0x80, size >> 7))
    return bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14))
