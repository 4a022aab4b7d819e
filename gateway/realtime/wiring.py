"""Puts the realtime part of the gateway together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import grpc.aio
from starlette.routing import BaseRoute, WebSocketRoute

from chassis.auth.principal import Principal
from chassis.lifecycle import Service
from chassis.metrics import Metrics
from gateway.authentication import Authenticator
from gateway.realtime.instruments import Instruments
from gateway.realtime.link import Link, token_reader
from gateway.realtime.members import Members
from gateway.realtime.origins import OriginPolicy
from gateway.realtime.outlets import QueueLimits
from gateway.realtime.settings import RealtimeSettings
from gateway.websocket import RealtimeWebSocket, WebSocketParts

WEBSOCKET_PATH = "/v1/realtime/ws"


@dataclass(frozen=True, slots=True)
class Realtime:
    """What the gateway mounts and runs: routes, and services to start before and stop after the server."""

    routes: Sequence[BaseRoute]
    # In the order to start them: the link before the server, the members after it.
    link: Service
    members: Service


class NoRevocations:
    """Nothing is ever revoked."""

    async def revoked(self, principals: Iterable[Principal]) -> set[Principal]:  # noqa: ARG002
        """Nobody."""
        return set()


def build_realtime(
    settings: RealtimeSettings,
    *,
    channel: grpc.aio.Channel,
    authenticator: Authenticator,
    life_s: Callable[[Principal], float],
    origins: Sequence[str],
    metrics: Metrics,
    gateway_id: str,
) -> Realtime:
    """The realtime part; nothing is connected yet."""
    instruments = Instruments(metrics)
    link = Link(channel, token_reader(settings.token_file), instruments, gateway_id=gateway_id)
    members = Members(link, life_s, NoRevocations(), instruments, members_max=settings.connections_max)
    websocket = RealtimeWebSocket(
        WebSocketParts(
            link=link,
            members=members,
            authenticator=authenticator,
            origins=OriginPolicy(origins),
            instruments=instruments,
            limits=QueueLimits(bytes_max=settings.queue_bytes_max, messages_max=settings.queue_messages_max),
        )
    )
    return Realtime([WebSocketRoute(WEBSOCKET_PATH, websocket)], link, members)
