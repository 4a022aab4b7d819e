"""Fits the chain to grpc.aio: one interceptor, one wrapper for each of the four kinds of handler."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import grpc.aio

from chassis.auth.verifier import UnknownKey
from chassis.grpc.context import CallContext, enter_call
from chassis.interceptors.chain import Call, Chain
from chassis.interceptors.errors import GRPC_CODES, status_of, trailing_metadata
from chassis.interceptors.methods import Method
from scheduling.errors import DomainError, Expired, Unauthenticated

Refresh = Callable[[], Awaitable[None]]


class AioInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server in the chain; wrappers are made once a method."""

    def __init__(self, chain: Chain, refresh_keys: Refresh) -> None:
        self._chain = chain
        self._refresh_keys = refresh_keys
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return the wrapped handler of the method that is called."""
        path = handler_call_details.method
        wrapped = self._wrapped.get(path)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            method = self._chain.method(path)
            if handler is None or method is None:
                return handler
            wrapped = self._wrapped[path] = self._wrap(handler, method)
        return wrapped

    def _wrap(self, handler: Any, method: Method) -> Any:
        if handler.response_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            behavior = self._streaming(
                handler.stream_stream or handler.unary_stream, method, handler.request_streaming
            )
        else:
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            behavior = self._unary(
                handler.stream_unary or handler.unary_unary, method, handler.request_streaming
            )
        return make(behavior, handler.request_deserializer, handler.response_serializer)

    def _unary(self, behavior: Any, method: Method, request_streaming: bool) -> Any:
        async def serve(request: Any, context: Any) -> Any:
            call = _call(method, context)
            try:
                try:
                    entered = await self._enter(call)
                    checked = self._checked(call, request, request_streaming)
                    reply = await _in_time(behavior(checked, context), entered.remaining_s())
                except Exception as error:  # noqa: BLE001 - every failure becomes a status, and is logged
                    await _refuse(call, context, error)
                _note_code(call, context)
            except asyncio.CancelledError:
                call.code = "DEADLINE_EXCEEDED" if _has_no_time_left(call) else "CANCELLED"
                raise
            else:
                return reply
            finally:
                self._chain.leave(call)

        return serve

    def _streaming(self, behavior: Any, method: Method, request_streaming: bool) -> Any:
        iterate = behavior if inspect.isasyncgenfunction(behavior) else _collecting(behavior)

        async def serve(request: Any, context: Any) -> AsyncIterator[Any]:
            call = _call(method, context)
            try:
                try:
                    await self._enter(call)
                    checked = self._checked(call, request, request_streaming)
                    with _until_token_expires(call):
                        async for reply in iterate(checked, context):
                            yield reply
                except Exception as error:  # noqa: BLE001 - every failure becomes a status, and is logged
                    await _refuse(call, context, error)
                _note_code(call, context)
            except (asyncio.CancelledError, GeneratorExit):
                call.code = "CANCELLED"
                raise
            finally:
                self._chain.leave(call)

        return serve

    async def _enter(self, call: Call) -> CallContext:
        try:
            context = self._chain.enter(call)
        except UnknownKey:
            await self._refresh_keys()
            context = self._enter_again(call)
        enter_call(context)
        return context

    def _enter_again(self, call: Call) -> CallContext:
        try:
            return self._chain.enter(call)
        except UnknownKey:
            raise Unauthenticated("The token is signed by an unknown key.") from None

    def _checked(self, call: Call, request: Any, request_streaming: bool) -> Any:
        if request_streaming:
            return self._checked_stream(call, request)
        self._chain.check(call, request)
        return request

    async def _checked_stream(self, call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._chain.check(call, request)
            yield request


def _call(method: Method, context: Any) -> Call:
    metadata = dict(context.invocation_metadata() or ())
    remaining_s = context.time_remaining()
    return Call(method, metadata, context.peer(), remaining_s)


def _has_no_time_left(call: Call) -> bool:
    return call.context is not None and call.context.remaining_s() == 0


def _collecting(behavior: Any) -> Any:
    """Adapt a handler that writes to the context itself instead of yielding."""

    async def iterate(request: Any, context: Any) -> AsyncIterator[Any]:
        await behavior(request, context)
        return
        yield  # makes this a generator

    return iterate


@contextmanager
def _until_token_expires(call: Call) -> Iterator[None]:
    """Cancel the stream when its token's life ends, and say so.

    Nothing is sent to a caller who may not listen.
    """
    principal, task = call.principal, asyncio.current_task()
    if principal is None or task is None or call.token_life_s is None:
        yield
        return
    expired = False

    def end() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(max(0.0, call.token_life_s), end)
    try:
        yield
    except asyncio.CancelledError:
        if not expired:
            raise
        task.uncancel()
        raise Unauthenticated("The token expired while the stream was open.") from None
    finally:
        timer.cancel()


def _note_code(call: Call, context: Any) -> None:
    """See a status that the handler set on the context itself."""
    code = context.code()
    if code:
        call.code = code.name if isinstance(code, grpc.StatusCode) else GRPC_CODES[code].name


async def _in_time(work: Awaitable[Any], remaining_s: float | None) -> Any:
    """What `work` returns. Raises Expired when the deadline passes first; a TimeoutError of the work's own passes."""
    limit = asyncio.timeout(remaining_s)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise Expired("The deadline passed before the work was done.") from None
        raise


async def _refuse(call: Call, context: Any, error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        _note_code(call, context)
        raise error
    status = status_of(error, call.request_id)
    code = GRPC_CODES[status.code]
    call.code = code.name
    call.error = error if isinstance(error, DomainError) or code is grpc.StatusCode.INTERNAL else None
    await context.abort(code, status.message, trailing_metadata(status, call.request_id))
    raise AssertionError("abort returns never")
