"""Runs the steps around a call: the pure core that both servers share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import Message

from chassis.auth.principal import Principal
from chassis.grpc.address import CLIENT_ADDRESS, CallerAddresses
from chassis.grpc.context import CallContext
from chassis.interceptors.methods import Method, built_in

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Call:
    """What the steps know of one call, filled in by them from the first to the last."""

    __slots__ = (
        "authorization", "code", "context", "deadline", "entered", "error", "metadata", "method", "peer",
        "principal", "remaining_s", "request_id", "span", "started_s", "token_life_s", "traceparent",
    )  # fmt: skip

    def __init__(
        self, method: Method, metadata: Mapping[str, Any], peer: str, remaining_s: float | None
    ) -> None:
        self.method = method
        self.metadata = metadata
        self.peer = peer
        self.remaining_s = remaining_s
        self.request_id = ""
        self.traceparent: str | None = None
        self.span: Span | None = None
        self.started_s = time.monotonic()
        self.deadline: float | None = None
        self.principal: Principal | None = None
        self.authorization: str | None = None
        self.token_life_s: float | None = None
        self.context: CallContext | None = None
        self.code = "OK"
        self.error: BaseException | None = None
        self.entered = 0

    def age_s(self) -> float:
        """Seconds since the call arrived."""
        return time.monotonic() - self.started_s


class Step(Protocol):
    """One concern around a call. None of the three may block or do I/O."""

    def enter(self, call: Call) -> None:
        """Look at a call that has arrived; raise a domain error to refuse it."""
        ...

    def check(self, call: Call, request: Message) -> None:
        """Look at one request message; raise a domain error to refuse it."""
        ...

    def leave(self, call: Call) -> None:
        """See the call end; runs once for every step that was entered, and never raises."""
        ...


class Chain:
    """The steps in order, with the methods that the contract describes."""

    def __init__(
        self, steps: Sequence[Step], methods: Mapping[str, Method], addresses: CallerAddresses
    ) -> None:
        self._steps = tuple(steps)
        self._addresses = addresses
        self._checks = tuple(step.check for step in steps if not _is_idle(step))
        self._methods = dict(methods)

    def method(self, path: str) -> Method | None:
        """The method at `path`, or None when the server does not serve it."""
        return self._methods.get(path) or built_in(path)

    def enter(self, call: Call) -> CallContext:
        """Run the steps' `enter` from where it stopped last; the call's context when all have let it pass."""
        steps = self._steps
        while call.entered < len(steps):
            steps[call.entered].enter(call)
            call.entered += 1
        context = CallContext(
            request_id=call.request_id,
            method=call.method.path,
            principal=call.principal,
            deadline=call.deadline,
            traceparent=call.traceparent,
            idempotency_key=call.metadata.get("idempotency-key"),
            authorization=call.authorization,
            peer=call.peer,
            client_address=self._addresses.of(call.peer, call.metadata.get(CLIENT_ADDRESS)),
        )
        call.context = context
        return context

    def check(self, call: Call, request: Message) -> None:
        """Run the steps' `check` on one request message."""
        for check in self._checks:
            check(call, request)

    def leave(self, call: Call) -> None:
        """Run `leave` of every step that was entered, the last one first."""
        for step in reversed(self._steps[: call.entered]):
            step.leave(call)


class IdleChecks:
    """A step that does not look at messages inherits this, so that none of them pays for it."""

    def check(self, call: Call, request: Message) -> None:
        """Do nothing."""


def _is_idle(step: Step) -> bool:
    return isinstance(step, IdleChecks)
