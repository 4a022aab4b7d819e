"""RealtimeService: Subscribe, Connect, GetPresence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from medforall.realtime.v1 import realtime_pb2 as wire
from medforall.realtime.v1 import realtime_pb2_grpc

from chassis.auth.principal import Principal, Role
from chassis.grpc.context import current_call
from chassis.tasks import end_tasks
from realtime_svc.history import History
from realtime_svc.hub import Hub
from realtime_svc.instruments import Instruments
from realtime_svc.presence import Presence, Teller, shown_users
from realtime_svc.readers import GatewayReader, Outbox, SubscriberReader
from realtime_svc.rpc.gateway_stream import GatewayStream
from realtime_svc.rpc.open_streams import OpenStreams
from scheduling.channels import Viewer, check_join, parse_channel
from scheduling.positions import Position, parse_position


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much an open stream may keep waiting, and how often a silent one shows that it lives."""

    gateway_bytes_max: int
    subscriber_bytes_max: int
    heartbeat_s: float


class RealtimeServicer(realtime_pb2_grpc.RealtimeServiceServicer):
    """Handlers of the contract."""

    def __init__(
        self,
        hub: Hub,
        history: History,
        presence: Presence,
        streams: OpenStreams,
        instruments: Instruments,
        *,
        limits: Limits,
        instance: str,
    ) -> None:
        self._hub = hub
        self._history = history
        self._presence = presence
        self._streams = streams
        self._instruments = instruments
        self._limits = limits
        self._own = Teller(instance)

    async def Subscribe(  # noqa: N802 - the contract's name
        self,
        request: wire.SubscribeRequest,
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[wire.SubscribeResponse]:
        """Stream the messages of some channels; what was missed first."""
        caller = current_call().caller
        viewer = viewer_of(caller)
        channels = [parse_channel(name) for name in request.channels]
        for channel in channels:
            check_join(viewer, channel)
        start = parse_position(request.resume_from) if request.resume_from else None
        reader = SubscriberReader(viewer, self._limits.subscriber_bytes_max)
        await self._streams.check(caller)
        self._open("subscriber", reader.outbox, caller)
        self._presence.add(self._own, request.clinic_id, caller.subject, 1)
        filling = asyncio.create_task(
            self._fill(reader, request.clinic_id, [str(channel) for channel in channels], start)
        )
        try:
            async for item in reader.outbox.items(
                self._limits.heartbeat_s, lambda: self._subscriber_position(reader)
            ):
                yield item
        finally:
            filling.cancel()
            self._presence.add(self._own, request.clinic_id, caller.subject, -1)
            self._close("subscriber", reader, reader.outbox)

    async def _fill(
        self, reader: SubscriberReader, clinic_id: str, channels: list[str], start: Position | None
    ) -> None:
        """Join, send what was missed, go live."""
        try:
            joined_at = self._hub.join(reader, clinic_id, channels)
            if start is not None:
                missed = await self._history.between(start, joined_at, clinic_id, channels)
                if missed.resync is None:
                    await reader.send_again(missed.messages, start)
                else:
                    reader.resync(joined_at, missed.resync)
            reader.go_live(joined_at)
            reader.outbox.put(wire.SubscribeResponse(position=str(reader.position)))
        except Exception as error:  # noqa: BLE001
            # Whatever went wrong is this stream's end; its status says so.
            reader.outbox.end(error)

    def _subscriber_position(self, reader: SubscriberReader) -> wire.SubscribeResponse:
        return wire.SubscribeResponse(position=str(reader.position.joined(self._hub.position)))

    async def Connect(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[wire.ConnectRequest],
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[wire.ConnectResponse]:
        """Serve one gateway until either side ends the stream."""
        reader = GatewayReader(self._limits.gateway_bytes_max)
        stream = GatewayStream(reader, self._hub, self._history, self._presence)
        self._open("gateway", reader.outbox)
        listening = asyncio.create_task(stream.listen(request_iterator))
        try:
            async for item in reader.outbox.items(
                self._limits.heartbeat_s, lambda: wire.ConnectResponse(position=str(self._hub.position))
            ):
                yield item
        finally:
            await end_tasks(listening)
            stream.close()
            self._close("gateway", reader, reader.outbox)

    async def GetPresence(  # noqa: N802 - the contract's name
        self,
        request: wire.GetPresenceRequest,
        context: Any,  # noqa: ARG002
    ) -> wire.GetPresenceResponse:
        """Count who is connected; admins see who."""
        users = await self._presence.of_clinic(request.clinic_id)
        response = wire.GetPresenceResponse(connections=sum(users.values()), users=len(users))
        if current_call().caller.role is Role.ADMIN:
            response.connected.extend(
                wire.ConnectedUser(user_id=user_id, connections=connections)
                for user_id, connections in shown_users(users)
            )
        return response

    def _open(self, kind: str, outbox: Outbox[Any], caller: Principal | None = None) -> None:
        self._streams.add(outbox, caller)
        self._instruments.readers.labels(kind).inc()

    def _close(self, kind: str, reader: GatewayReader | SubscriberReader, outbox: Outbox[Any]) -> None:
        self._hub.drop(reader)
        self._streams.remove(outbox)
        if outbox.dropped_for:
            self._instruments.dropped.labels(outbox.dropped_for).inc()
        self._instruments.readers.labels(kind).dec()


def viewer_of(caller: Principal) -> Viewer:
    """What decides which channels `caller` may join and what it sees there."""
    return Viewer(
        role=caller.role,
        clinic_id=caller.clinic_id,
        reads_phi=caller.reads_phi,
        provider_id=caller.provider_id,
        patient_id=caller.patient_id,
    )
