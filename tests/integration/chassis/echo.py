"""The echo service's two implementations: for grpc.aio and for threads."""
# ruff: noqa: N802 - methods are named by the contract

import threading
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import anyio.to_thread

from chassis.grpc.context import current_call
from scheduling.errors import Conflict, FieldViolation, Invalid, Reason, Unavailable


class Gate:
    """Lets a test hold a handler until it has seen enough."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.entered = threading.Semaphore(0)

    def open(self) -> None:
        self._open.set()

    def wait(self) -> None:
        self.entered.release()
        assert self._open.wait(20)

    async def wait_async(self) -> None:
        self.entered.release()
        await anyio.to_thread.run_sync(self._open.wait, 20, abandon_on_cancel=True)

    async def wait_entered(self) -> None:
        assert await anyio.to_thread.run_sync(self.entered.acquire, True, 10)


def _fail_as_told(text: str) -> None:
    if text == "conflict":
        raise Conflict(reason=Reason.ROOM_ALREADY_BOOKED, metadata={"resource": "room"})
    if text == "invalid":
        raise Invalid(
            "two fields", violations=[FieldViolation("a", "is odd"), FieldViolation("b", "is even")]
        )
    if text == "away":
        raise Unavailable(retry_after_s=2.5)
    if text == "bug":
        raise KeyError("jane.doe@example.com")


def _answer(messages: ModuleType, text: str) -> Any:
    call = current_call()
    return messages.EchoResponse(
        text=text,
        request_id=call.request_id,
        subject=call.principal.subject if call.principal else "",
        remaining_s=call.remaining_s() or 0.0,
        traceparent=call.traceparent,
        idempotency_key=call.idempotency_key,
    )


class AioEcho:
    """Answers with what it was sent and what it knows of the call."""

    def __init__(self, messages: ModuleType, gate: Gate) -> None:
        self._messages = messages
        self._gate = gate

    async def Echo(self, request: Any, context: Any) -> Any:
        if request.text == "wait":
            await self._gate.wait_async()
        if request.text == "abort":
            import grpc  # noqa: PLC0415 - only here

            await context.abort(grpc.StatusCode.DATA_LOSS, "as told")
        _fail_as_told(request.text)
        return _answer(self._messages, request.text)

    async def Open(self, request: Any, context: Any) -> Any:
        return _answer(self._messages, request.text)

    async def Free(self, request: Any, context: Any) -> Any:
        return _answer(self._messages, request.text)

    def Missing(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def Many(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(3):
            yield _answer(self._messages, f"{request.text}{number}")
        if request.text == "wait":
            await self._gate.wait_async()
        _fail_as_told(request.text)

    async def Sum(self, requests: AsyncIterator[Any], context: Any) -> Any:
        return _answer(self._messages, "".join([request.text async for request in requests]))

    async def Chat(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            _fail_as_told(request.text)
            yield _answer(self._messages, request.text)


class ThreadsEcho:
    """The same, blocking."""

    def __init__(self, messages: ModuleType, gate: Gate) -> None:
        self._messages = messages
        self._gate = gate

    def Echo(self, request: Any, context: Any) -> Any:
        if request.text == "wait":
            self._gate.wait()
        if request.text == "abort":
            import grpc  # noqa: PLC0415 - only here

            context.abort(grpc.StatusCode.DATA_LOSS, "as told")
        _fail_as_told(request.text)
        return _answer(self._messages, request.text)

    def Open(self, request: Any, context: Any) -> Any:
        return _answer(self._messages, request.text)

    def Free(self, request: Any, context: Any) -> Any:
        return _answer(self._messages, request.text)

    def Missing(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def Many(self, request: Any, context: Any) -> Iterator[Any]:
        for number in range(3):
            yield _answer(self._messages, f"{request.text}{number}")
        if request.text == "wait":
            self._gate.wait()
        _fail_as_told(request.text)

    def Sum(self, requests: Iterator[Any], context: Any) -> Any:
        return _answer(self._messages, "".join(request.text for request in requests))

    def Chat(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            _fail_as_told(request.text)
            yield _answer(self._messages, request.text)
