"""One gateway's stream: its joins and leaves, and what it missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import structlog
from medforall.realtime.v1 import realtime_pb2 as wire

from realtime_svc.history import History
from realtime_svc.hub import Hub
from realtime_svc.presence import Presence, Teller
from realtime_svc.readers import GatewayReader, delivery_of, resync_of
from scheduling.channels import parse_channel
from scheduling.errors import Invalid
from scheduling.ids import is_id
from scheduling.positions import Position, parse_position

_log = structlog.get_logger(__name__)

_REPLAYS_AT_ONCE_MAX: Final = 8
_USER_ID_CHARS_MAX: Final = 128


class GatewayStream:
    """Applies what a gateway says."""

    def __init__(self, reader: GatewayReader, hub: Hub, history: History, presence: Presence) -> None:
        self._reader = reader
        self._hub = hub
        self._history = history
        self._presence = presence
        self._teller: Teller | None = None
        self._replays: set[asyncio.Task[None]] = set()
        self._replay_places = asyncio.Semaphore(_REPLAYS_AT_ONCE_MAX)

    async def listen(self, requests: AsyncIterator[wire.ConnectRequest]) -> None:
        """Apply every request in order; the stream ends when the gateway's side does."""
        try:
            async for request in requests:
                await self._apply(request)
            self._reader.outbox.end()
        except Exception as error:  # noqa: BLE001
            # Whatever went wrong is this stream's end; its status says so.
            self._reader.outbox.end(error)

    async def _apply(self, request: wire.ConnectRequest) -> None:
        kind = request.WhichOneof("item")
        if kind == "hello":
            self._teller = Teller(request.hello.gateway_id, request.hello.stream)
        elif self._teller is None:
            raise Invalid.field("hello", "must be the first item of the stream")
        elif kind == "join":
            await self._join(request.join)
        elif kind == "leave":
            self._hub.leave(self._reader, request.leave.clinic_id, request.leave.channels)
        elif kind == "presence":
            for user in request.presence.users:
                self._report(self._teller, user)

    def _report(self, teller: Teller, user: wire.PresentUser) -> None:
        """Note where a user is; one whose ids are malformed is nowhere, and ends nobody's stream."""
        if 0 < len(user.user_id) <= _USER_ID_CHARS_MAX and is_id(user.clinic_id):
            self._presence.report(teller, user.clinic_id, user.user_id, user.connections)
        else:
            _log.warning("presence.malformed")

    async def _join(self, join: wire.Join) -> None:
        channels = [str(parse_channel(name)) for name in join.channels]
        start = parse_position(join.resume_from) if join.resume_from else None
        if start is None:
            joined_at = self._hub.join(self._reader, join.clinic_id, channels)
            self._say_joined(join.request_id, joined_at)
            return
        await self._replay_places.acquire()
        joined_at = self._hub.join(self._reader, join.clinic_id, channels)
        task = asyncio.create_task(self._replay(join, channels, start, joined_at))
        self._replays.add(task)
        task.add_done_callback(self._replayed)

    def _replayed(self, task: asyncio.Task[None]) -> None:
        self._replays.discard(task)
        self._replay_places.release()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._reader.outbox.end(error)

    async def _replay(
        self, join: wire.Join, channels: list[str], start: Position, joined_at: Position
    ) -> None:
        missed = await self._history.between(start, joined_at, join.clinic_id, channels)
        if missed.resync is not None:
            self._say_joined(join.request_id, joined_at, missed.resync)
            return
        for message in missed.messages:
            delivery = delivery_of(message, message.audience.among(channels), join.request_id)
            await self._reader.outbox.put_in_turn(wire.ConnectResponse(delivery=delivery))
        self._say_joined(join.request_id, joined_at)

    def _say_joined(
        self, request_id: int, joined_at: Position, resync: wire.ResyncReason.ValueType | None = None
    ) -> None:
        joined = wire.Joined(request_id=request_id, position=str(joined_at))
        if resync is not None:
            joined.resync.CopyFrom(resync_of(joined_at, resync))
        self._reader.outbox.put(wire.ConnectResponse(joined=joined))

    def close(self) -> None:
        """End what runs and say that the gateway's users are gone."""
        for task in tuple(self._replays):
            task.cancel()
        if self._teller is not None:
            self._presence.forget(self._teller)
