"""What a handler may know of the call it serves."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from chassis.auth.principal import Principal

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{8,128}")
"""What a caller may choose as its request's id: it is logged as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """One call: made by the interceptors, read by handlers, logs and outgoing calls.

    `deadline` is on the monotonic clock (`time.monotonic()`, seconds); None means that a stream may stay
    open. `client_address` is where the client is, as far as the peer may be believed.
    `principal` is None for public and anonymous calls. `authorization` is the header to hand on,
    never logged.
    """

    request_id: str
    method: str
    principal: Principal | None = None
    deadline: float | None = None
    traceparent: str | None = None
    idempotency_key: str | None = None
    authorization: str | None = None
    peer: str = ""
    client_address: str | None = None

    @property
    def caller(self) -> Principal:
        """The principal of a call that needs a token. Raises LookupError when there is none."""
        if self.principal is None:
            raise LookupError(f"{self.method} was called without a principal")
        return self.principal

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, never below zero; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


_current: ContextVar[CallContext | None] = ContextVar("chassis_call", default=None)


def current_call() -> CallContext:
    """The call that this task or thread serves. Raises LookupError outside of one."""
    call = _current.get()
    if call is None:
        raise LookupError("no call is being served here")
    return call


def current_call_or_none() -> CallContext | None:
    """The call that this task or thread serves, if any."""
    return _current.get()


@contextmanager
def use_call(call: CallContext) -> Iterator[CallContext]:
    """Serve `call` inside the block: for the gateway, background work and tests."""
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


def enter_call(call: CallContext) -> None:
    """Serve `call` until this task ends or another one is entered: for interceptors."""
    _current.set(call)


def leave_call() -> None:
    """Serve no call any more: worker threads are used again."""
    _current.set(None)
