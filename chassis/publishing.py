"""Sending to JetStream: many messages at once, in order, and one wait for all their acknowledgements.

The client's own way makes a task, a timer and a future of each message, which together took as long as all else that
the outbox relay did. Here one inbox hears every acknowledgement of a connection, and one future ends the wait for many.

Enough messages for one of our streams go together, as JetStream's atomic batch: stored next to each other or not at
all, synced to the disk a few times instead of once each, acknowledged once. A batch that the server does not take, say
because one of its messages is stored already, is sent again as messages of their own; so is, once, what goes to a
server before 2.12, which knows no batches.

The client's buffer is never filled so far that it makes its callers wait: that wait has no bound and heeds nobody who
cancels it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
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
# More than a message's headers take, those of a batch among them, and what surrounds them on the line.
_HEADERS_BYTES_MAX: Final = 4_096
_AROUND_HEADERS_BYTES: Final = 32
_BUFFERED_BYTES_MAX: Final = 1_048_576
_STATUS: Final = "Status"
_BAD_REQUEST: Final = 400
_FINAL: Final = (nats.errors.MaxPayloadError, nats.errors.BadSubjectError, nats.errors.BadHeaderError)
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
    """A message's acknowledgement."""

    stream: str
    sequence: int
    is_duplicate: bool


Outcome = Published | Unavailable | Rejected


@dataclass(frozen=True, slots=True)
class _Answer:
    """What JetStream said; of a batch of `batch_size` messages once, with the sequence of the last one."""

    outcome: Outcome
    batch_size: int = 1

    def of_each(self, size: int) -> list[Outcome] | None:
        """What it says of each message of a batch; None when the server has not taken it as one."""
        match self.outcome:
            case Published(stream, last) if self.batch_size == size:
                return [Published(stream, last - size + place, False) for place in range(1, size + 1)]
            case Unavailable():
                return [self.outcome] * size
        return None


class _Wait:
    """Answers on their way, and when none is outstanding any more."""

    def __init__(self, size: int) -> None:
        self.answers: list[_Answer | None] = [None] * size
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outstanding = size

    def settle(self, place: int, answer: _Answer) -> None:
        """Take an answer in; the first one counts."""
        if self.answers[place] is not None:
            return
        self.answers[place] = answer
        self._outstanding -= 1
        if not self._outstanding and not self.is_over.done():
            self.is_over.set_result(None)


class Publisher:
    """Publishes on one client; `start` it once the client is connected, which subscribes it for good."""

    def __init__(self, client: Client, ack_timeout_ms: int) -> None:
        self._line = _Line(client)
        self._ack_timeout_s = ack_timeout_ms / 1_000

    async def start(self) -> None:
        """Listen for acknowledgements."""
        await self._line.listen()

    def lose(self) -> None:
        """The connection is lost: what is on its way will not be acknowledged, and no sending goes on."""
        self._line.lose()

    async def publish_all(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send all and wait until each is acknowledged or given up; what became of each.

        The acknowledgement's timeout is for all together. Each stream stores its messages in this order.
        """
        sending = _Sending(self._line, asyncio.get_running_loop().time() + self._ack_timeout_s)
        outcomes: dict[int, Outcome] = {}
        for places in self._line.groups(messages):
            together = await sending.together([messages[place] for place in places])
            if together is None:
                break
            outcomes.update(zip(places, together, strict=True))
        alone = [place for place in range(len(messages)) if place not in outcomes]
        each = await sending.each([messages[place] for place in alone])
        outcomes.update(zip(alone, each, strict=True))
        return [outcomes[place] for place in range(len(messages))]


class _Line:
    """What the sendings of one client share: its inbox, who waits for what, and what may still lie in its buffer."""

    def __init__(self, client: Client) -> None:
        self.losses = 0
        self._client = client
        self._inbox = client.new_inbox()
        self._numbers = count(1)
        self._waiting: dict[str, tuple[_Wait, int]] = {}
        self._knows_batches = True
        self._unconfirmed_bytes = 0

    async def listen(self) -> None:
        """Hear every acknowledgement from now on."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._heard)

    def lose(self) -> None:
        """Settle all that waits."""
        self.losses += 1
        waiting, self._waiting = self._waiting, {}
        for wait, place in waiting.values():
            wait.settle(place, _Answer(unavailable(ConnectionResetError())))

    def expect(self, size: int) -> tuple[_Wait, list[str]]:
        """Get ready to hear so many answers; where they are to be sent."""
        wait, replies = _Wait(size), [f"{self._inbox}.{next(self._numbers)}" for _ in range(size)]
        self._waiting.update((reply, (wait, place)) for place, reply in enumerate(replies))
        return wait, replies

    def forget(self, replies: Iterable[str]) -> None:
        """Hear no more of these."""
        for reply in replies:
            self._waiting.pop(reply, None)

    def confirmed(self) -> None:
        """All that was sent has been answered, so nothing of it lies in the buffer."""
        self._unconfirmed_bytes = 0

    async def send(
        self, message: OutgoingMessage, headers: dict[str, str], reply: str, deadline_s: float
    ) -> None:
        """Send one message. Raises what the client raises, a TimeoutError when the buffer does not empty in time."""
        size_bytes = len(message.data) + _headers_bytes(headers)
        # The client looks at the data alone; the server counts headers too, and ends the connection for good.
        if size_bytes > self._client.max_payload:
            raise nats.errors.MaxPayloadError
        if self._unconfirmed_bytes > _BUFFERED_BYTES_MAX:
            left_s = deadline_s - asyncio.get_running_loop().time()
            await self._client.flush(timeout=max(left_s, 0.001))  # type: ignore[arg-type]
            self.confirmed()
        self._unconfirmed_bytes += size_bytes
        await self._client.publish(message.subject, message.data, reply=reply, headers=headers)

    def groups(self, messages: Sequence[OutgoingMessage]) -> list[list[int]]:
        """The places of those that can go together, each stream's in their order; none where a batch does not pay."""
        if len(messages) < TOGETHER_MIN or not self._knows_batches:
            return []
        by_stream: dict[str, list[int]] = {}
        for place, message in enumerate(messages):
            stream = stream_of(message.subject)
            if stream is not None:
                by_stream.setdefault(stream, []).append(place)
        data_bytes_max = self._client.max_payload - _HEADERS_BYTES_MAX
        pieces = (
            places[first : first + _TOGETHER_MAX]
            for places in by_stream.values()
            if max(len(messages[place].data) for place in places) <= data_bytes_max
            for first in range(0, len(places), _TOGETHER_MAX)
        )
        return [piece for piece in pieces if len(piece) >= TOGETHER_MIN]

    def saw_no_batch(self) -> None:
        """The server has taken a batch for messages of their own: it is of a release that knows none."""
        self._knows_batches = False

    async def _heard(self, answer: Msg) -> None:
        wait, place = self._waiting.pop(answer.subject, (None, 0))
        if wait is not None:
            wait.settle(place, _read(answer))


class _Sending:
    """One call's messages, of which none is sent once the line was lost or the time is over."""

    def __init__(self, line: _Line, deadline_s: float) -> None:
        self._line = line
        self._losses = line.losses
        self._deadline_s = deadline_s

    async def together(self, messages: Sequence[OutgoingMessage]) -> list[Outcome] | None:
        """What became of each as an atomic batch; None when the server takes no such batch."""
        wait, replies = self._line.expect(1)
        try:
            await self._send_batch(messages, replies[0])
            await self._wait(wait)
        except _FINAL:
            return None  # the server forgets after a while what it has of it
        except GONE as error:
            return [unavailable(error)] * len(messages)
        finally:
            self._line.forget(replies)
        answer = wait.answers[0]
        assert answer is not None  # noqa: S101 - the wait is over
        if isinstance(answer.outcome, Published) and answer.batch_size != len(messages):
            self._line.saw_no_batch()
        return answer.of_each(len(messages))

    async def each(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """What became of each on its own."""
        wait, replies = self._line.expect(len(messages))
        silence: Outcome | None = None
        try:
            for place, (message, reply) in enumerate(zip(messages, replies, strict=True)):
                try:
                    await self._send(message, message.all_headers(), reply)
                except _FINAL as error:
                    wait.settle(place, _Answer(Rejected(f"{message.subject}: {type(error).__name__}")))
            if messages:
                await self._wait(wait)
        except GONE as error:
            silence = unavailable(error)
        finally:
            self._line.forget(replies)
        answers = [silence if answer is None else answer.outcome for answer in wait.answers]
        return [outcome for outcome in answers if outcome is not None]

    async def _send_batch(self, messages: Sequence[OutgoingMessage], reply: str) -> None:
        batch_id = reply.replace(".", "")[-64:]
        for number, message in enumerate(messages, 1):
            is_last = number == len(messages)
            headers = message.all_headers() | {_BATCH_ID: batch_id, _BATCH_SEQUENCE: str(number)}
            await self._send(
                message, headers | _BATCH_COMMIT if is_last else headers, reply if is_last else ""
            )

    async def _send(self, message: OutgoingMessage, headers: dict[str, str], reply: str) -> None:
        if self._line.losses != self._losses:
            raise ConnectionResetError
        await self._line.send(message, headers, reply, self._deadline_s)

    async def _wait(self, wait: _Wait) -> None:
        async with asyncio.timeout_at(self._deadline_s):
            await wait.is_over
        if self._line.losses == self._losses:
            self._line.confirmed()


def unavailable(error: BaseException) -> Unavailable:
    """The domain's word for a failed connection."""
    return Unavailable(
        "The message bus is away.", metadata={"dependency": "bus", "cause": type(error).__name__}
    )


def _headers_bytes(headers: Mapping[str, str]) -> int:
    """What the server counts of a message beside its data, and a little more."""
    return _AROUND_HEADERS_BYTES + sum(len(name) + len(value) + 4 for name, value in headers.items())


def _read(answer: Msg) -> _Answer:
    """What JetStream said; without a stream of that subject the server itself answers, with a status and no body."""
    if answer.headers and _STATUS in answer.headers:
        return _Answer(unavailable(js_errors.NoStreamResponseError()))
    try:
        said: dict[str, Any] = json.loads(answer.data)
        refusal = said.get("error")
        if refusal is None:
            published = Published(said["stream"], said["seq"], bool(said.get("duplicate")))
            return _Answer(published, said.get("count", 1))
        if refusal["code"] == _BAD_REQUEST:
            return _Answer(Rejected(f"JetStream refused it: {refusal.get('err_code')}"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return _Answer(unavailable(error))
    return _Answer(unavailable(js_errors.APIError(code=refusal["code"], err_code=refusal.get("err_code"))))
