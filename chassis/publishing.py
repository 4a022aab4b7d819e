"""Sending to JetStream: many messages at once, in order, and one wait for all their acknowledgements.

The client's own way makes a task, a timer and a future of each message, which together took as long as all else that
the outbox relay did. Here one inbox hears every acknowledgement of a connection, and one future ends a batch's wait.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import errors as js_errors

from chassis.tracing import TRACEPARENT
from scheduling.errors import Unavailable

MESSAGE_ID: Final = "Nats-Msg-Id"

_STATUS: Final = "Status"
_BAD_REQUEST: Final = 400
_FINAL: Final = (nats.errors.MaxPayloadError, nats.errors.BadSubjectError)
GONE: Final = (nats.errors.Error, js_errors.Error, TimeoutError, OSError)
"""What the client raises while the bus is away, or does not answer as it should."""


class Rejected(Exception):
    """The server will never take this message: too large, no such subject, another stream expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """What is published; `message_id` makes a repetition within ten minutes harmless."""

    subject: str
    data: bytes
    message_id: str
    traceparent: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """The headers as sent."""
        headers = {**self.headers, MESSAGE_ID: self.message_id}
        if self.traceparent:
            headers[TRACEPARENT] = self.traceparent
        return headers


@dataclass(frozen=True, slots=True)
class Published:
    """JetStream's acknowledgement."""

    stream: str
    sequence: int
    is_duplicate: bool


Outcome = Published | Unavailable | Rejected


class _Batch:
    """Messages on their way: what became of each, and when nothing is outstanding any more."""

    def __init__(self, size: int) -> None:
        self.outcomes: list[Outcome | None] = [None] * size
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outstanding = size

    def settle(self, place: int, outcome: Outcome) -> None:
        """Say what became of a message; what comes later about it is not heard."""
        if self.outcomes[place] is not None:
            return
        self.outcomes[place] = outcome
        self._outstanding -= 1
        if not self._outstanding and not self.is_over.done():
            self.is_over.set_result(None)


class Publisher:
    """Publishes on one client; `start` it once the client is connected, which subscribes it for good."""

    def __init__(self, client: Client, ack_timeout_ms: int) -> None:
        self._client = client
        self._ack_timeout_s = ack_timeout_ms / 1_000
        self._inbox = client.new_inbox()
        self._numbers = count(1)
        self._waiting: dict[str, tuple[_Batch, int]] = {}

    async def start(self) -> None:
        """Listen for acknowledgements."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._heard)

    def lose(self) -> None:
        """The connection is lost: acknowledgements that are still on their way will not come."""
        waiting, self._waiting = self._waiting, {}
        for batch, place in waiting.values():
            batch.settle(place, unavailable(ConnectionResetError()))

    async def publish_all(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send all, in order, and wait until each is acknowledged or given up; what became of each."""
        batch = _Batch(len(messages))
        replies = [f"{self._inbox}.{next(self._numbers)}" for _ in messages]
        try:
            async with asyncio.timeout(self._ack_timeout_s):
                for place, (message, reply) in enumerate(zip(messages, replies, strict=True)):
                    self._waiting[reply] = batch, place
                    await self._send(message, reply)
                if messages:
                    await batch.is_over
        except TimeoutError as error:
            silence = unavailable(error)
            return [outcome or silence for outcome in batch.outcomes]
        finally:
            for reply in replies:
                self._waiting.pop(reply, None)
        return [outcome for outcome in batch.outcomes if outcome is not None]

    async def _send(self, message: OutgoingMessage, reply: str) -> None:
        try:
            await self._client.publish(
                message.subject, message.data, reply=reply, headers=message.all_headers()
            )
        except _FINAL as error:
            self._settle(reply, Rejected(f"{message.subject}: {type(error).__name__}"))
        except GONE as error:
            self._settle(reply, unavailable(error))

    async def _heard(self, answer: Msg) -> None:
        self._settle(answer.subject, _outcome(answer))

    def _settle(self, reply: str, outcome: Outcome) -> None:
        batch, place = self._waiting.pop(reply, (None, 0))
        if batch is not None:
            batch.settle(place, outcome)


def unavailable(error: BaseException) -> Unavailable:
    """The domain's word for a failed connection."""
    return Unavailable(
        "The message bus is away.", metadata={"dependency": "bus", "cause": type(error).__name__}
    )


def _outcome(answer: Msg) -> Outcome:
    """What JetStream said; without a stream of that subject the server itself answers, with a status and no body."""
    if answer.headers and _STATUS in answer.headers:
        return unavailable(js_errors.NoStreamResponseError())
    try:
        said: dict[str, Any] = json.loads(answer.data)
        refusal = said.get("error")
        if refusal is None:
            return Published(said["stream"], said["seq"], bool(said.get("duplicate")))
    except (ValueError, KeyError, AttributeError) as error:
        return unavailable(error)
    if refusal.get("code") == _BAD_REQUEST:
        return Rejected(f"JetStream refused it: {refusal.get('err_code')}")
    return unavailable(js_errors.APIError(**refusal))
