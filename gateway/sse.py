"""`/v1/realtime/sse` and its tickets: the same messages as the WebSocket, for clients that can only listen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from medforall.options.v1 import options_pb2
from starlette.types import Receive, Scope, Send

from chassis.auth.principal import Principal
from chassis.grpc.context import current_call
from gateway.authentication import AUTHORIZATION, Authenticator
from gateway.exchange import RATE
from gateway.messages import Request, json_reply
from gateway.problems import MethodNotAllowed
from gateway.rate_limit import Limiter
from gateway.realtime.instruments import Instruments
from gateway.realtime.link import Link
from gateway.realtime.members import Member, Members, check_may_listen
from gateway.realtime.news import notice, sse_event
from gateway.realtime.origins import refuse_token_in_address
from gateway.realtime.outlets import GRACE_S, QueueLimits, QueueOutlet
from gateway.realtime.paths import LIST_PARAMETERS
from gateway.realtime.protocol import REASONS, CloseCode
from gateway.realtime.subscribing import SessionGone, check_count, join, sequence_of, sort_out
from gateway.realtime.tickets import TTL_S, Tickets
from scheduling.channels import CHANNELS_MAX
from scheduling.errors import Invalid, Unavailable
from scheduling.positions import Position, parse_position

_log = structlog.get_logger(__name__)

_PARAMETERS: Final = frozenset({*LIST_PARAMETERS, "resumeFrom", "ticket"})
_RETRY_MS: Final = 1_000
_RETRY_SPREAD_MS: Final = 4_000
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
"""Nothing in between may keep, or wait for more of, what is sent."""

TRANSPORT: Final = "medforall.transport"
"""Where the server puts the connection's transport among a scope's extensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SseParts:
    """What connections share."""

    link: Link
    members: Members
    authenticator: Authenticator
    tickets: Tickets
    limiter: Limiter
    instruments: Instruments
    limits: QueueLimits
    keep_alive_s: float
    spread: Callable[[], float] = random.random


class SseTickets:
    """`POST /v1/realtime/sse/tickets`."""

    def __init__(self, parts: SseParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a ticket."""
        request = _request(scope, receive, "POST")
        _only(refuse_token_in_address(request.query), ())
        principal = await self._parts.authenticator.bearer(request.headers.get(AUTHORIZATION), _client())
        scope[RATE] = await _admit(self._parts, principal)
        check_may_listen(principal)
        ticket = await self._parts.tickets.issue(principal)
        reply = json_reply(201, {"ticket": ticket, "expiresIn": TTL_S}, {"cache-control": "no-store"})
        await reply.send(send)


class RealtimeSse:
    """`GET /v1/realtime/sse`."""

    def __init__(self, parts: SseParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream from its request to its end."""
        request = _request(scope, receive, "GET")
        wanted = _Wanted.read(request)
        principal = await self._principal(request, wanted)
        scope[RATE] = await _admit(self._parts, principal)
        await Stream(self._parts, scope, receive, send).serve(principal, wanted)

    async def _principal(self, request: Request, wanted: _Wanted) -> Principal:
        header = request.headers.get(AUTHORIZATION)
        if wanted.ticket and not header:
            return await self._parts.authenticator.counted(
                lambda: self._parts.tickets.redeem(wanted.ticket), _client()
            )
        return await self._parts.authenticator.bearer(header, _client())


def _request(scope: Scope, receive: Receive, method: str) -> Request:
    """The request. Raises MethodNotAllowed for another method, Invalid for one with a body."""
    if scope["method"] != method:
        raise MethodNotAllowed([method])
    request = Request(scope, receive)
    if request.has_body:
        raise Invalid.field("body", "is not taken by this call")
    return request


def _client() -> str:
    return current_call().client_address or ""


async def _admit(parts: SseParts, principal: Principal) -> Mapping[str, str]:
    """Count an opening for the user alone, as a WebSocket's."""
    return await parts.limiter.admit(principal, _client(), "", options_pb2.RATE_CLASS_READ)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the address and the headers ask for."""

    channels: Sequence[str]
    resume_from: Position | None
    ticket: str

    @classmethod
    def read(cls, request: Request) -> _Wanted:
        query = refuse_token_in_address(request.query)
        _only(query, _PARAMETERS)
        # A browser that connects again by itself sends the header; a page that does it sends the parameter.
        resume = request.headers.get("last-event-id") or _one(query, "resumeFrom")
        return cls(_channels(query), parse_position(resume) if resume else None, _one(query, "ticket"))


def _only(query: Mapping[str, Sequence[str]], known: Collection[str]) -> None:
    """Refuse parameters that there are not, as for every other call. Raises Invalid."""
    for name in query:
        if name not in known:
            raise Invalid.field(name[:64], "is not a parameter of this request")


def _channels(query: Mapping[str, Sequence[str]]) -> list[str]:
    """The channels of `channels`, `clinicId`, `providerId`, `patientId`, and `locationId` with `date`."""
    named = [name for value in query.get("channels", ()) for name in value.split(",") if name]
    for parameter, kind in (("clinicId", "clinic"), ("providerId", "provider"), ("patientId", "patient")):
        named += [f"{kind}:{id_}" for id_ in query.get(parameter, ())]
    dates = query.get("date", ())
    locations = query.get("locationId", ())
    if bool(dates) != bool(locations):
        raise Invalid.field("date", "goes with locationId")
    named += [f"location:{id_}:{date}" for id_ in locations for date in dates]
    if not 0 < len(named) <= CHANNELS_MAX:
        raise Invalid.field("channels", f"must name 1 to {CHANNELS_MAX} channels")
    return named


def _one(query: Mapping[str, Sequence[str]], name: str) -> str:
    values = query.get(name, ())
    if len(values) > 1:
        raise Invalid.field(name, "is given more than once")
    return values[0] if values else ""


class Stream:
    """One open stream."""

    def __init__(self, parts: SseParts, scope: Scope, receive: Receive, send: Send) -> None:
        self._parts = parts
        self._receive = receive
        self._send = send
        self._transport: Any = scope.get("extensions", {}).get(TRANSPORT)
        self._outlet = QueueOutlet(parts.limits, parts.instruments, self._on_overflow, transport="sse")
        self._task = asyncio.current_task()
        self._cutting: asyncio.TimerHandle | None = None
        self._is_ending = False
        self._is_gone = False

    async def serve(self, principal: Principal, wanted: _Wanted) -> None:
        """Check everything, then send until either side ends it."""
        member = await self._parts.members.admit(principal, self._outlet, self._end, "sse")
        watching: asyncio.Task[None] | None = None
        try:
            channels, refused = sort_out(wanted.channels, member.session.viewer)
            if refused:
                raise refused[0][1]
            check_count(self._parts.link, member.session, channels)
            await self._begin()
            watching = asyncio.create_task(self._watch())
            joining = asyncio.create_task(self._join(member, channels, wanted.resume_from))
            try:
                await self._write(member)
            finally:
                joining.cancel()
        except asyncio.CancelledError:
            if not (self._is_gone or self._is_ending):
                raise
        except OSError:
            self._is_gone = True
        finally:
            self._parts.members.dismiss(member)
            if watching is not None:
                watching.cancel()
            if self._cutting is not None:
                self._cutting.cancel()

    async def _begin(self) -> None:
        """The head, and how long to wait before connecting again: spread, for everybody comes at once."""
        retry_ms = _RETRY_MS + int(_RETRY_SPREAD_MS * self._parts.spread())
        await self._send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await self._write_chunk(f"retry: {retry_ms}\n\n".encode())

    async def _join(self, member: Member, channels: Sequence[str], resume_from: Position | None) -> None:
        """Join; the first event says where the stream stands."""
        try:
            await join(self._parts.link, member.session, channels, resume_from)
        except (SessionGone, Unavailable):
            self._end(CloseCode.GOING_AWAY)
            return
        except Exception:  # noqa: BLE001 - whatever went wrong is this stream's end
            _log.exception("sse.join_failed")
            self._end(CloseCode.GOING_AWAY)
            return
        sequence = sequence_of(self._parts.link, member.session)
        text = notice("subscribed", {"channels": list(channels)}, sequence=sequence)
        self._outlet.put(sse_event("subscribed", text, sequence))

    async def _write(self, member: Member) -> None:
        while True:
            chunk = await self._outlet.next(0.0 if self._is_ending else self._parts.keep_alive_s)
            if chunk is None and self._is_ending:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await self._write_chunk(chunk or self._keep_alive(member))

    async def _write_chunk(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    def _keep_alive(self, member: Member) -> bytes:
        """A comment; the id that goes with it moves the client's position on without an event."""
        sequence = sequence_of(self._parts.link, member.session)
        return f": keep-alive\nid: {sequence}\n\n".encode() if sequence else b": keep-alive\n\n"

    async def _watch(self) -> None:
        """Notice that the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        if self._task is not None:
            self._task.cancel()

    def _on_overflow(self) -> None:
        self._end(CloseCode.SLOW_READER)

    def _end(self, code: CloseCode) -> None:
        """Say why, and end; a client that does not take it is cut off."""
        if self._is_ending:
            return
        self._is_ending = True
        self._parts.instruments.closed.labels("sse", code.name.lower()).inc()
        if code is CloseCode.SLOW_READER:
            _log.warning("sse.slow_reader")
        payload = notice("closed", {"code": int(code), "reason": REASONS[code]})
        self._outlet.last(f"event: closed\ndata: {payload.decode()}\n\n".encode())
        self._cutting = asyncio.get_running_loop().call_later(GRACE_S, self._cut)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self._task is not None:
            self._task.cancel()
