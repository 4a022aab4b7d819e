"""Pulls messages from a JetStream consumer as they come.

One pull request is open at a time; each message is handed over as it arrives, not when the batch is full.
The server's heartbeats show that it is still there: two missed ones, or any status that is not routine, end
the pull with Unavailable, and the caller opens a new one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chassis.bus import Bus
from chassis.publishing import MESSAGE_ID, unavailable
from chassis.tracing import extract
from scheduling.errors import Unavailable

_EXPIRES_S = 30
_HEARTBEAT_S = 5
_SILENCE_MAX_S = 2 * _HEARTBEAT_S + 1
_STATUS = "Status"
_HEARTBEAT = "100"
_ENDED = frozenset({"404", "408"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as handlers see it; `sequence` is its place in the stream."""

    subject: str
    data: bytes = field(repr=False)
    message_id: str | None
    traceparent: str | None
    sequence: int
    consumer_sequence: int
    deliveries: int
    pending: int
    published_at: datetime


def message_of(raw: Msg) -> Message:
    """A received message. Raises nats.errors.NotJSMessageError."""
    metadata = raw.metadata
    return Message(
        subject=raw.subject,
        data=raw.data,
        message_id=(raw.headers or {}).get(MESSAGE_ID),
        traceparent=extract(raw.headers),
        sequence=metadata.sequence.stream,
        consumer_sequence=metadata.sequence.consumer,
        deliveries=metadata.num_delivered,
        pending=metadata.num_pending,
        published_at=metadata.timestamp,
    )


class Pull:
    """An open pull on one consumer: `async with` it, then call `next` again and again."""

    def __init__(self, bus: Bus, stream: str, consumer: str, *, batch: int) -> None:
        self._bus = bus
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._batch = batch
        self._missing = 0
        self._inbox = ""
        self._subscription: Subscription | None = None
        # Never holds more than was asked for, and a few statuses; None says that the connection is lost.
        self._received: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._forget: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        client = self._bus.client
        self._forget = self._bus.when_lost(lambda: self._received.put_nowait(None))
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(self._inbox, cb=self._receive)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._forget is not None:
            self._forget()
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self._bus.is_connected:
            await asyncio.gather(subscription.unsubscribe(), return_exceptions=True)

    async def next(self) -> Msg:
        """The next message, waiting as long as the server shows that it is there. Raises Unavailable."""
        while True:
            if self._missing <= 0:
                await self._ask()
            raw = await self._next_received()
            if self._is_message(raw):
                self._missing -= 1
                return raw

    async def _receive(self, raw: Msg) -> None:
        self._received.put_nowait(raw)

    async def _next_received(self) -> Msg:
        try:
            async with asyncio.timeout(_SILENCE_MAX_S):
                raw = await self._received.get()
        except TimeoutError as error:
            raise unavailable(error) from error
        if raw is None:
            raise Unavailable("The message bus is away.", metadata={"dependency": "bus"})
        return raw

    async def _ask(self) -> None:
        request = {
            "batch": self._batch,
            "expires": _EXPIRES_S * 10**9,
            "idle_heartbeat": _HEARTBEAT_S * 10**9,
        }
        try:
            await self._bus.client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)
        except nats.errors.Error as error:
            raise unavailable(error) from error
        self._missing = self._batch

    def _is_message(self, raw: Msg) -> bool:
        """Tell a message from a status; a request that has ended is asked again."""
        status = (raw.headers or {}).get(_STATUS)
        if status is None:
            return True
        if status in _ENDED:
            self._missing = 0
        elif status != _HEARTBEAT:
            raise Unavailable(
                "The message bus ended the pull.", metadata={"dependency": "bus", "status": status}
            )
        return False
