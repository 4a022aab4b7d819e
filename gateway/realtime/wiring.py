"""Puts the realtime part of the gateway together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc.aio
from starlette.routing import BaseRoute, Route, WebSocketRoute

from chassis.auth.principal import Principal
from chassis.auth.revocations import Revocations
from chassis.cache import AsyncCache
from chassis.lifecycle import Service
from chassis.metrics import Metrics
from gateway.authentication import Authenticator
from gateway.live import live_routes
from gateway.rate_limit import Limiter
from gateway.realtime.instruments import Instruments
from gateway.realtime.link import Link, token_reader
from gateway.realtime.members import Members
from gateway.realtime.origins import OriginPolicy
from gateway.realtime.outlets import QueueLimits
from gateway.realtime.paths import SSE_PATH, TICKETS_PATH
from gateway.realtime.settings import RealtimeSettings
from gateway.realtime.tickets import Tickets
from gateway.sse import RealtimeSse, SseParts, SseTickets
from gateway.websocket import RealtimeWebSocket, WebSocketParts

WEBSOCKET_PATH = "/v1/realtime/ws"


@dataclass(frozen=True, slots=True)
class Realtime:
    """What the gateway mounts and runs: routes, and services to start before and stop after the server."""

    routes: Sequence[BaseRoute]
    # In the order to start them: the link before the server, the members after it.
    link: Service
    members: Service


def build_realtime(
    settings: RealtimeSettings,
    *,
    channel: grpc.aio.Channel,
    authenticator: Authenticator,
    life_s: Callable[[Principal], float],
    cache: AsyncCache,
    limiter: Limiter,
    origins: Sequence[str],
    metrics: Metrics,
    gateway_id: str,
) -> Realtime:
    """The realtime part; nothing is connected yet."""
    instruments = Instruments(metrics)
    link = Link(
        channel,
        token_reader(settings.token_file),
        instruments,
        gateway_id=gateway_id,
        clinic_channels_max=settings.clinic_channels_max,
    )
    members = _members(settings, link, life_s, Revocations(cache), instruments)
    limits = QueueLimits(bytes_max=settings.queue_bytes_max, messages_max=settings.queue_messages_max)
    websocket = WebSocketParts(
        link=link,
        members=members,
        authenticator=authenticator,
        origins=OriginPolicy(origins),
        instruments=instruments,
        limits=limits,
        limiter=limiter,
    )
    sse = SseParts(
        link=link,
        members=members,
        authenticator=authenticator,
        tickets=Tickets(cache),
        limiter=limiter,
        instruments=instruments,
        limits=limits,
        keep_alive_s=settings.sse_keep_alive_ms / 1_000,
    )
    return Realtime(_routes(websocket, sse), link, members)


def _members(
    settings: RealtimeSettings,
    link: Link,
    life_s: Callable[[Principal], float],
    revocations: Revocations,
    instruments: Instruments,
) -> Members:
    return Members(
        link,
        life_s,
        revocations,
        instruments,
        members_max=settings.connections_max,
        user_members_max=settings.user_connections_max,
        sweep_s=settings.revocation_check_ms / 1_000,
    )


def _routes(websocket: WebSocketParts, sse: SseParts) -> list[BaseRoute]:
    return [
        WebSocketRoute(WEBSOCKET_PATH, RealtimeWebSocket(websocket)),
        Route(SSE_PATH, RealtimeSse(sse)),
        Route(TICKETS_PATH, SseTickets(sse)),
        *live_routes(),
    ]
