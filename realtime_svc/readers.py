"""The sending side of an open stream: a bounded queue between the hub and one reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, TypeVar

from medforall.realtime.v1 import realtime_pb2 as wire

from realtime_svc.messages import Outgoing, View
from scheduling.channels import Viewer, sees_whole
from scheduling.errors import DomainError, Exhausted, Reason, Unavailable
from scheduling.positions import Position, Source

ItemT = TypeVar("ItemT", wire.ConnectResponse, wire.SubscribeResponse)

_SOURCES = {
    Source.APPOINTMENTS: wire.EVENT_SOURCE_APPOINTMENTS,
    Source.DIRECTORY: wire.EVENT_SOURCE_DIRECTORY,
}


class Outbox(Generic[ItemT]):
    """Items that wait to be sent, `bytes_max` at most.

    A reader who lets more pile up is ended with RESOURCE_EXHAUSTED: it comes back and resumes.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._items: deque[ItemT] = deque()
        self._bytes = 0
        self._end: Exception | None = None
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def put(self, item: ItemT) -> None:
        """Add `item` without waiting."""
        if self._end is not None:
            return
        self._bytes += item.ByteSize()
        if self._bytes > self._bytes_max:
            self.end(_too_slow())
            return
        self._items.append(item)
        self._changed.set()
        if self._bytes > self._bytes_max // 2:
            self._has_room.clear()

    async def put_in_turn(self, item: ItemT) -> None:
        """Add `item` once half of the room is free: for what is sent again, which nobody hurries."""
        await self._has_room.wait()
        self.put(item)

    def end(self, error: Exception | None = None) -> None:
        """Send nothing more: end the stream with `error`, or because the service stops."""
        if self._end is None:
            self._end = error or Unavailable("The service is restarting; connect again and resume.")
            self._items.clear()
        self._changed.set()
        self._has_room.set()

    @property
    def dropped_for(self) -> str:
        """Why the stream was ended from here, in a word; empty when it was not."""
        if self._end is None:
            return ""
        return str(self._end.reason).lower() if isinstance(self._end, DomainError) else "internal"

    async def items(self, heartbeat_s: float, sign_of_life: Callable[[], ItemT]) -> AsyncIterator[ItemT]:
        """What is put, in order, and a sign of life after each `heartbeat_s` without an item. Raises as ended."""
        while True:
            while self._items:
                item = self._items.popleft()
                self._bytes -= item.ByteSize()
                if self._bytes <= self._bytes_max // 2:
                    self._has_room.set()
                yield item
            if self._end is not None:
                raise self._end
            self._changed.clear()
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._changed.wait()
            except TimeoutError:
                yield sign_of_life()


class GatewayReader:
    """A gateway: gets everything of its channels, and judges itself what each of its clients may see."""

    def __init__(self, bytes_max: int) -> None:
        self.outbox: Outbox[wire.ConnectResponse] = Outbox(bytes_max)

    def offer(self, message: Outgoing, channels: Sequence[str]) -> None:
        """Queue a live message."""
        self.outbox.put(wire.ConnectResponse(delivery=delivery_of(message, channels)))

    def reset(self, position: Position) -> None:
        """Queue the news that the streams were made anew."""
        self.outbox.put(wire.ConnectResponse(reset=resync_of(position, wire.RESYNC_REASON_RESET)))


class SubscriberReader:
    """One subscriber with its own token: gets what it may see, each message once."""

    def __init__(self, viewer: Viewer, bytes_max: int) -> None:
        self.outbox: Outbox[wire.SubscribeResponse] = Outbox(bytes_max)
        self._viewer = viewer
        self._held: list[Outgoing] | None = []
        self._position = Position()

    def offer(self, message: Outgoing, channels: Sequence[str]) -> None:  # noqa: ARG002 - all are its own
        """Queue a live message; hold it back while what was missed is being sent."""
        if self._held is None:
            self._put(message)
        elif len(self._held) < 10_000:
            self._held.append(message)
        else:
            self.outbox.end(_too_slow())

    def reset(self, position: Position) -> None:
        """Queue the news that the streams were made anew, and go on live: what was missed is not told any more."""
        self._held, self._position = None, position
        self.outbox.put(wire.SubscribeResponse(resync=resync_of(position, wire.RESYNC_REASON_RESET)))

    def resync(self, position: Position, reason: wire.ResyncReason.ValueType) -> None:
        """Queue the news that what was missed cannot be told, unless a reset has told it already."""
        if self._held is not None:
            self.outbox.put(wire.SubscribeResponse(resync=resync_of(position, reason)))

    async def send_again(self, missed: Sequence[Outgoing], start: Position) -> None:
        """Queue what was missed since `start`, as fast as it is read; a reset ends it."""
        if self._held is not None:
            self._position = start
        for message in missed:
            if self._held is None:
                return
            item = self._item(message)
            if item is not None:
                await self.outbox.put_in_turn(item)

    def go_live(self, position: Position) -> None:
        """Stand at `position`, send what was held back meanwhile, then what comes; after a reset all is done."""
        if self._held is None:
            return
        self._position = self._position.joined(position) if self._position.epoch else position
        held, self._held = self._held, None
        for message in held:
            self._put(message)

    @property
    def position(self) -> Position:
        """How far this reader has come."""
        return self._position

    def _put(self, message: Outgoing) -> None:
        item = self._item(message)
        if item is not None:
            self.outbox.put(item)

    def _item(self, message: Outgoing) -> wire.SubscribeResponse | None:
        if self._position.covers(message.source, message.position):
            return None
        self._position = self._position.joined(message.position)
        view = view_for(message, self._viewer)
        return None if view is None else wire.SubscribeResponse(message=view.typed(self._position))


def view_for(message: Outgoing, viewer: Viewer) -> View | None:
    """The form of `message` that `viewer` may see, or None."""
    if message.provider_ids is None or sees_whole(viewer, message.provider_ids):
        return message.whole
    return message.reduced


def delivery_of(message: Outgoing, channels: Sequence[str], request_id: int = 0) -> wire.Delivery:
    """`message` as gateways get it."""
    delivery = wire.Delivery(
        request_id=request_id,
        clinic_id=message.clinic_id,
        channels=channels,
        position=str(message.position),
        type=message.whole.type,
        json=message.whole.json,
        source=_SOURCES[message.source],
    )
    if message.provider_ids is not None:
        delivery.restricted = True
        delivery.provider_ids.extend(message.provider_ids)
        if message.reduced is not None:
            delivery.reduced_json = message.reduced.json
            delivery.reduced_type = message.reduced.type
    return delivery


def resync_of(position: Position, reason: wire.ResyncReason.ValueType) -> wire.Resync:
    """A gap that cannot be filled, after which one goes on from `position`."""
    return wire.Resync(position=str(position), reason=reason)


def _too_slow() -> Exhausted:
    return Exhausted("The stream is read too slowly; connect again and resume.", reason=Reason.OVERLOADED)
