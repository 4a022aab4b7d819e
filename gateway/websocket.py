"""`/v1/realtime/ws`: authenticate, subscribe, unsubscribe, ping; everything answered, everything bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from medforall.options.v1 import options_pb2
from starlette.types import Receive, Scope, Send

from chassis.auth.principal import Principal
from chassis.grpc.context import current_call
from gateway.authentication import Authenticator
from gateway.problems import OriginNotAllowed, RateLimited
from gateway.rate_limit import Limiter
from gateway.realtime.direct import DirectConnection, direct_connection
from gateway.realtime.instruments import Instruments
from gateway.realtime.link import Link
from gateway.realtime.members import Member, Members
from gateway.realtime.news import notice
from gateway.realtime.origins import OriginPolicy, refuse_token_in_address
from gateway.realtime.outlets import GRACE_S, DirectOutlet, QueueLimits, QueueOutlet
from gateway.realtime.protocol import REASONS, ClientMessage, CloseCode, parse_message
from gateway.realtime.subscribing import SessionGone, check_count, join, sequence_of, sort_out
from scheduling.channels import parse_channel
from scheduling.errors import DomainError, Exhausted, Forbidden, Invalid, Unauthenticated, Unavailable
from scheduling.positions import parse_position

_log = structlog.get_logger(__name__)

AUTHENTICATE_WITHIN_S: Final = 5.0
_FAULTS_MAX: Final = 20
_BURST: Final = 60
_MESSAGES_PER_S: Final = 10
_IN_TURN: Final = frozenset({"subscribe", "unsubscribe"})
_TURNS_MAX: Final = 60


class Ended(Exception):
    """The connection ends with this code, or because the client went."""

    def __init__(self, code: CloseCode | None = None) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketParts:
    """What connections share."""

    link: Link
    members: Members
    authenticator: Authenticator
    origins: OriginPolicy
    instruments: Instruments
    limits: QueueLimits
    limiter: Limiter


class RealtimeWebSocket:
    """The ASGI endpoint."""

    def __init__(self, parts: WebSocketParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket from its handshake to its end. Raises an HttpProblem that refuses the handshake."""
        await receive()
        if not self._parts.origins.allows(dict(scope["headers"]), scope["scheme"]):
            raise OriginNotAllowed
        refuse_token_in_address(scope["query_string"])
        await send({"type": "websocket.accept"})
        connection = Connection(self._parts, receive, send, direct_connection(scope))
        await connection.serve()


class Connection:
    """One WebSocket."""

    __slots__ = ("_allowance", "_closing", "_direct", "_faults", "_filled_at", "_is_ending", "_outlet", "_parts",
                 "_receive", "_send", "_turns", "_working", "_writer", "member")  # fmt: skip

    def __init__(
        self, parts: WebSocketParts, receive: Receive, send: Send, direct: DirectConnection | None
    ) -> None:
        self._parts = parts
        self._receive = receive
        self._send = send
        self._direct = direct
        self._faults = 0
        self._allowance = float(_BURST)
        self._filled_at = asyncio.get_running_loop().time()
        self._closing: asyncio.Task[None] | None = None
        self._is_ending = False
        # Subscriptions that wait for the one before them, and the task that answers them.
        self._turns: list[ClientMessage] = []
        self._working: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._outlet = self._make_outlet()
        self.member: Member | None = None

    def _make_outlet(self) -> DirectOutlet | QueueOutlet:
        parts = self._parts
        if self._direct is not None:
            return DirectOutlet(self._direct, parts.limits, parts.instruments, self._on_overflow)
        outlet = QueueOutlet(parts.limits, parts.instruments, self._on_overflow, transport="websocket")
        self._writer = asyncio.create_task(self._write(outlet))
        return outlet

    async def serve(self) -> None:
        """Talk until either side ends it."""
        try:
            await self._admit()
            while True:
                await self._answer(await self._next())
        except Ended as ended:
            if ended.code is not None:
                self._end(ended.code)
        finally:
            if self.member is not None:
                self._parts.members.dismiss(self.member)
            if self._working is not None:
                self._working.cancel()
            if self._closing is not None:
                await asyncio.gather(self._closing, return_exceptions=True)
            if self._writer is not None:
                self._writer.cancel()

    async def _admit(self) -> None:
        """Take the `authenticate` message, which comes first and soon."""
        try:
            async with asyncio.timeout(AUTHENTICATE_WITHIN_S):
                message = await self._next()
        except TimeoutError:
            raise Ended(CloseCode.AUTHENTICATION_TIMEOUT) from None
        if message is None or message.type != "authenticate":
            self._say_error(message, Unauthenticated("The first message must be `authenticate`."))
            raise Ended(CloseCode.UNAUTHENTICATED)
        try:
            principal = await self._verify(message)
            # Counted for the user alone: when a gateway comes back, all of a clinic's streams do at once.
            await self._parts.limiter.admit(principal, _client(), "", options_pb2.RATE_CLASS_READ)
            self.member = await self._parts.members.admit(principal, self._outlet, self._end, "websocket")
        except DomainError as error:
            self._say_error(message, error)
            raise Ended(_code_of(error)) from None
        self._say_authenticated(message, self.member, [])

    async def _verify(self, message: ClientMessage) -> Principal:
        return await self._parts.authenticator.verify(message.text("token"), _client())

    async def _next(self) -> ClientMessage | None:
        """The client's next message; None for one that was malformed, and answered so."""
        event = await self._receive()
        if event["type"] == "websocket.disconnect" or self._is_ending:
            raise Ended
        self._take_allowance()
        try:
            return parse_message(event.get("text"))
        except Invalid as error:
            self._count_fault()
            self._say_error(None, error)
            return None

    def _take_allowance(self) -> None:
        now = asyncio.get_running_loop().time()
        self._allowance = min(_BURST, self._allowance + (now - self._filled_at) * _MESSAGES_PER_S) - 1
        self._filled_at = now
        if self._allowance < 0:
            raise Ended(CloseCode.TOO_MANY_MESSAGES)

    def _count_fault(self) -> None:
        self._faults += 1
        if self._faults > _FAULTS_MAX:
            raise Ended(CloseCode.BAD_MESSAGES)

    async def _answer(self, message: ClientMessage | None) -> None:
        member = self.member
        if message is None or member is None:
            return
        if message.type not in _IN_TURN:
            await self._answer_now(message, member)
            return
        if len(self._turns) >= _TURNS_MAX:
            raise Ended(CloseCode.TOO_MANY_MESSAGES)
        self._turns.append(message)
        if self._working is None:
            self._working = asyncio.create_task(self._take_turns(member))
            # What need not wait is answered before the next message is read.
            await asyncio.sleep(0)

    async def _take_turns(self, member: Member) -> None:
        """Answer subscriptions one after the other; signs of life and renewals do not wait for them."""
        try:
            while self._turns:
                await self._answer_now(self._turns.pop(0), member)
        except Ended as ended:
            if ended.code is not None:
                self._end(ended.code)
        except Exception as error:  # noqa: BLE001
            # Nobody awaits this task: the client must not wait for answers that do not come.
            _log.error("websocket.failed", exc_info=error)
            self._end(CloseCode.GOING_AWAY)
        finally:
            self._working = None

    async def _answer_now(self, message: ClientMessage, member: Member) -> None:
        try:
            if message.type == "subscribe":
                await self._subscribe(message, member)
            elif message.type == "unsubscribe":
                self._unsubscribe(message, member)
            elif message.type == "authenticate":
                await self._renew(message, member)
            else:
                self._ack(message, member, "pong", {})
        except DomainError as error:
            self._count_fault()
            self._say_error(message, error)

    async def _renew(self, message: ClientMessage, member: Member) -> None:
        principal = await self._verify(message)
        lost = await self._parts.members.renew(member, principal)
        self._say_authenticated(message, member, lost)

    async def _subscribe(self, message: ClientMessage, member: Member) -> None:
        names = message.texts("channels")
        session = member.session
        resume_text = message.text("resumeFrom")
        resume_from = parse_position(resume_text) if resume_text else None
        if resume_from is not None and session.channels:
            raise Invalid.field("resumeFrom", "goes with the first subscription of a connection")
        wanted, refused = sort_out(names, session.viewer)
        check_count(self._parts.link, session, wanted)
        if not wanted:
            raise refused[0][1]
        try:
            await join(self._parts.link, session, wanted, resume_from)
        except SessionGone:
            raise Ended from None
        shown = [{"channel": name, "reason": str(error.reason)} for name, error in refused]
        # A token that was renewed meanwhile may allow less.
        joined = [name for name in wanted if name in session.channels]
        self._ack(message, member, "subscribed", {"channels": joined, "refused": shown})

    def _unsubscribe(self, message: ClientMessage, member: Member) -> None:
        channels = [str(parse_channel(name)) for name in message.texts("channels")]
        left = [name for name in dict.fromkeys(channels) if name in member.session.channels]
        self._parts.link.feeds.unsubscribe(member.session, left)
        self._ack(message, member, "unsubscribed", {"channels": left})

    def _ack(self, message: ClientMessage, member: Member, type_: str, payload: dict[str, Any]) -> None:
        sequence = sequence_of(self._parts.link, member.session)
        self._outlet.say(notice(type_, payload, sequence=sequence, reply_to=message.id))

    def _say_authenticated(self, message: ClientMessage, member: Member, lost: Sequence[str]) -> None:
        principal = member.principal
        payload: dict[str, Any] = {
            "userId": principal.subject,
            "clinicId": principal.clinic_id,
            "role": str(principal.role),
            "expiresAt": _utc_text(principal.expires_at_s),
        }
        if lost:
            payload["lostChannels"] = list(lost)
        self._outlet.say(notice("authenticated", payload, reply_to=message.id))

    def _say_error(self, message: ClientMessage | None, error: DomainError) -> None:
        payload: dict[str, Any] = {"error": str(error.reason), "message": error.message}
        if message is not None:
            payload["inReplyTo"] = message.type
        self._outlet.say(notice("error", payload, reply_to=message.id if message else None))

    def _on_overflow(self) -> None:
        self._end(CloseCode.SLOW_READER)

    def _end(self, code: CloseCode) -> None:
        """Send nothing more but the reason; the connection is closed, at last cut, soon after."""
        if self._is_ending:
            return
        self._is_ending = True
        if self.member is not None:
            self._parts.members.dismiss(self.member)
        self._parts.instruments.closed.labels("websocket", code.name.lower()).inc()
        if code is CloseCode.SLOW_READER:
            _log.warning("websocket.slow_reader")
        self._outlet.close()
        if self._direct is not None:
            self._direct.close(int(code), REASONS[code], GRACE_S)
        else:
            self._closing = asyncio.create_task(self._close(code))

    async def _close(self, code: CloseCode) -> None:
        """Close under a server that does not let us write ourselves."""
        if self._writer is not None:
            self._writer.cancel()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await self._send({"type": "websocket.close", "code": int(code), "reason": REASONS[code]})

    async def _write(self, outlet: QueueOutlet) -> None:
        """Send what is queued, under a server that does not let us write ourselves."""
        with contextlib.suppress(OSError):
            while True:
                chunk = await outlet.next(60.0)
                if chunk is not None:
                    await self._send({"type": "websocket.send", "text": chunk.decode()})


def _client() -> str:
    return current_call().client_address or ""


def _code_of(error: DomainError) -> CloseCode:
    """With what a connection that is not admitted is closed."""
    if isinstance(error, Unavailable | RateLimited):
        return CloseCode.TRY_AGAIN_LATER
    if isinstance(error, Forbidden):
        return CloseCode.FORBIDDEN
    if isinstance(error, Exhausted):
        return CloseCode.TOO_MANY_CONNECTIONS
    return CloseCode.UNAUTHENTICATED


def _utc_text(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
