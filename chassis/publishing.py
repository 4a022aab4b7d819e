"""Sending to JetStream: many messages at once, in order, and one wait for all their acknowledgements.

The client's own way makes a task, a timer and a future of each message, which together took as long as all else that
the outbox relay did. Here one inbox hears every acknowledgement of a connection, and one future ends the wait for many.

Enough messages for one of our streams go together, as JetStream's atomic batch: stored next to each other or not at
all, synced to the disk a few times instead of once each, acknowledged once. A batch that the server does not take, say
because one of its messages is stored already, is sent again as messages of their own.
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

from chassis.streams import stream_of
from chassis.tracing import TRACEPARENT
from scheduling.errors import Unavailable

MESSAGE_ID: Final = "Nats-Msg-Id"

TOGETHER_MIN: Final = 16
"""From how many messages on a batch costs the server less than the messages alone."""

_TOGETHER_MAX: Final = 1_000  # the server's bound
_BATCH_ID: Final = "Nats-Batch-Id"
_BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
_BATCH_COMMIT: Final = {"Nats-Batch-Commit": "1"}
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
    """JetStream's acknowledgement; of a batch of so many messages it is told once, with the last one's sequence."""

    stream: str
    sequence: int
    is_duplicate: bool
    batch_size: int = 1


Outcome = Published | Unavailable | Rejected


class _Wait:
    """Answers on their way: what each says, and when none is outstanding any more."""

    def __init__(self, size: int) -> None:
        self.outcomes: list[Outcome | None] = [None] * size
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outstanding = size

    def settle(self, place: int, outcome: Outcome) -> None:
        """Say what became of one; what comes later about it is not heard."""
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
        self._waiting: dict[str, tuple[_Wait, int]] = {}

    async def start(self) -> None:
        """Listen for acknowledgements."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._heard)

    def lose(self) -> None:
        """The connection is lost: acknowledgements that are still on their way will not come."""
        waiting, self._waiting = self._waiting, {}
        for wait, place in waiting.values():
            wait.settle(place, unavailable(ConnectionResetError()))

    async def publish_all(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send all and wait until each is acknowledged or given up; what became of each.

        Each stream stores its messages in this order.
        """
        outcomes: dict[int, Outcome] = {}
        for places in _groups(messages):
            together = await self._publish_together([messages[place] for place in places])
            outcomes.update(zip(places, together, strict=True) if together else ())
        alone = [place for place in range(len(messages)) if place not in outcomes]
        outcomes.update(
            zip(alone, await self._publish_each([messages[place] for place in alone]), strict=True)
        )
        return [outcomes[place] for place in range(len(messages))]

    async def _publish_together(self, messages: Sequence[OutgoingMessage]) -> list[Outcome] | None:
        """What became of each as an atomic batch; None when the server takes no such batch."""
        wait, (reply,) = self._expect(1)
        try:
            async with asyncio.timeout(self._ack_timeout_s):
                await self._send_batch(messages, reply)
                await wait.is_over
        except _FINAL:
            return None  # what was sent of it is forgotten by the server
        except GONE as error:
            return [unavailable(error)] * len(messages)
        finally:
            self._waiting.pop(reply, None)
        return _of_each(wait.outcomes[0], len(messages))

    async def _send_batch(self, messages: Sequence[OutgoingMessage], reply: str) -> None:
        batch_id = reply.replace(".", "")[-64:]
        for number, message in enumerate(messages, 1):
            is_last = number == len(messages)
            headers = message.all_headers() | {_BATCH_ID: batch_id, _BATCH_SEQUENCE: str(number)}
            await self._client.publish(
                message.subject,
                message.data,
                reply=reply if is_last else "",
                headers=headers | _BATCH_COMMIT if is_last else headers,
            )

    async def _publish_each(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        if not messages:
            return []
        wait, replies = self._expect(len(messages))
        try:
            async with asyncio.timeout(self._ack_timeout_s):
                for message, reply in zip(messages, replies, strict=True):
                    await self._send(message, reply)
                await wait.is_over
        except TimeoutError as error:
            silence = unavailable(error)
            return [outcome or silence for outcome in wait.outcomes]
        finally:
            for reply in replies:
                self._waiting.pop(reply, None)
        return [outcome for outcome in wait.outcomes if outcome is not None]

    def _expect(self, size: int) -> tuple[_Wait, list[str]]:
        """Get ready to hear so many answers; where they are to be sent."""
        wait, replies = _Wait(size), [f"{self._inbox}.{next(self._numbers)}" for _ in range(size)]
        self._waiting.update((reply, (wait, place)) for place, reply in enumerate(replies))
        return wait, replies

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
        wait, place = self._waiting.pop(reply, (None, 0))
        if wait is not None:
            wait.settle(place, outcome)


def _groups(messages: Sequence[OutgoingMessage]) -> list[list[int]]:
    """The places of those that can go together."""
    if len(messages) < TOGETHER_MIN:
        return []
    by_stream: dict[str, list[int]] = {}
    for place, message in enumerate(messages):
        stream = stream_of(message.subject)
        if stream is not None:
            by_stream.setdefault(stream, []).append(place)
    return [places for places in by_stream.values() if TOGETHER_MIN <= len(places) <= _TOGETHER_MAX]


def _of_each(answer: Outcome | None, size: int) -> list[Outcome] | None:
    """What the answer to a batch says of each of its messages; None when the server has not taken it as one."""
    match answer:
        case Published(stream, last, _, batch_size) if batch_size == size:
            return [
                Published(stream, last - size + place, is_duplicate=False) for place in range(1, size + 1)
            ]
        case Unavailable():
            return [answer] * size
    return None


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
            return Published(said["stream"], said["seq"], bool(said.get("duplicate")), said.get("count", 1))
    except (ValueError, KeyError, AttributeError) as error:
        return unavailable(error)
    if refusal.get("code") == _BAD_REQUEST:
        return Rejected(f"JetStream refused it: {refusal.get('err_code')}")
    return unavailable(js_errors.APIError(**refusal))
