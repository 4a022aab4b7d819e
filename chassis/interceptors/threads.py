"""Fits the chain to grpc's synchronous server.

One interceptor, one wrapper for each of the four kinds of handler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc

from chassis.auth.verifier import UnknownKey
from chassis.grpc.context import CallContext, enter_call
from chassis.interceptors.chain import Call, Chain
from chassis.interceptors.errors import GRPC_CODES, status_of, trailing_metadata
from chassis.interceptors.methods import Method
from scheduling.errors import DomainError, Expired, Unauthenticated

_NEVER_S = 10.0**7


class ThreadsInterceptor(grpc.ServerInterceptor):
    """Wraps every handler of a server in the chain; wrappers are made once a method.

    A thread cannot be interrupted: handlers pass the call's remaining time on to what they wait for, and an
    answer that comes after the deadline is not sent.
    """

    def __init__(self, chain: Chain, refresh_keys: Callable[[], None]) -> None:
        self._chain = chain
        self._refresh_keys = refresh_keys
        self._wrapped: dict[str, Any] = {}

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return the wrapped handler of the method that is called."""
        path = handler_call_details.method
        wrapped = self._wrapped.get(path)
        if wrapped is None:
            handler = continuation(handler_call_details)
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
        def serve(request: Any, context: Any) -> Any:
            call = _call(method, context)
            try:
                entered = self._enter(call)
                reply = behavior(self._checked(call, request, request_streaming), context)
                _refuse_late(entered)
                _note_code(call, context)
            except Exception as error:  # noqa: BLE001 - every failure becomes a status, and is logged
                _refuse(call, context, error)
            else:
                return reply
            finally:
                self._chain.leave(call)

        return serve

    def _streaming(self, behavior: Any, method: Method, request_streaming: bool) -> Any:
        def serve(request: Any, context: Any) -> Iterator[Any]:
            call = _call(method, context)
            try:
                self._enter(call)
                for reply in behavior(self._checked(call, request, request_streaming), context):
                    _refuse_expired_token(call)
                    yield reply
                _note_code(call, context)
            except GeneratorExit:
                call.code = "CANCELLED"
                raise
            except Exception as error:  # noqa: BLE001 - every failure becomes a status, and is logged
                _refuse(call, context, error)
            finally:
                self._chain.leave(call)

        return serve

    def _enter(self, call: Call) -> CallContext:
        try:
            context = self._chain.enter(call)
        except UnknownKey:
            self._refresh_keys()
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

    def _checked_stream(self, call: Call, requests: Iterator[Any]) -> Iterator[Any]:
        for request in requests:
            self._chain.check(call, request)
            yield request


def _call(method: Method, context: Any) -> Call:
    metadata = {key: value for key, value in context.invocation_metadata()}  # noqa: C416 - namedtuples, not pairs
    remaining_s = context.time_remaining()
    # This server gives a call without a deadline one in the far future.
    has_deadline = remaining_s is not None and remaining_s < _NEVER_S
    return Call(method, metadata, context.peer(), remaining_s if has_deadline else None)


def _refuse_late(entered: CallContext) -> None:
    if entered.remaining_s() == 0:
        raise Expired("The deadline passed before the work was done.")


def _refuse_expired_token(call: Call) -> None:
    if call.token_life_s is not None and call.age_s() >= call.token_life_s:
        raise Unauthenticated("The token expired while the stream was open.")


def _note_code(call: Call, context: Any) -> None:
    """See a status that the handler set on the context itself."""
    code = context.code()
    if code is not None:
        call.code = code.name


def _refuse(call: Call, context: Any, error: Exception) -> NoReturn:
    if context.code() is not None and not isinstance(error, DomainError | NotImplementedError):
        # The handler has aborted the call itself; grpc's own exception carries it on.
        _note_code(call, context)
        raise error
    status = status_of(error, call.request_id)
    code = GRPC_CODES[status.code]
    call.code = code.name
    call.error = error
    context.set_trailing_metadata(trailing_metadata(status, call.request_id))
    context.abort(code, status.message)
    raise AssertionError("abort returns never")
