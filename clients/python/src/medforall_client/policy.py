"""What every call gets: a token, a deadline, an idempotency key, and another try where that is safe."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from medforall_client.errors import MedforallError, error_of

_KEY = "idempotency_key"

# Nothing happened, or what happened is found again by its idempotency key.
_RETRIED_REASONS = frozenset(
    ("CONCURRENT_BOOKING", "IDEMPOTENCY_IN_PROGRESS", "OVERLOADED", "RATE_LIMIT_EXCEEDED")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how patiently a call is tried; `attempts` counts the first one."""

    attempts: int = 3
    first_wait_s: float = 0.2
    wait_max_s: float = 5.0

    def wait_s(self, tried: int, error: MedforallError) -> float | None:
        """The wait before the next try: what the service asked for, else doubled and spread.

        None when the service asks for a longer one than `wait_max_s`: to come back earlier is of no use.
        """
        wanted = error.retry_after_s or 0.0
        if wanted > self.wait_max_s:
            return None
        doubled: float = self.first_wait_s * 2.0 ** (tried - 1) * (0.5 + random.random() / 2)  # noqa: S311 - spreads load
        return max(wanted, min(self.wait_max_s, doubled))


class Policy(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc,type-arg,unused-ignore]
    """The interceptor that applies it."""

    def __init__(
        self,
        token: Callable[[], str],
        *,
        deadline_s: float,
        retries: Retries,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._token = token
        self._deadline_s = deadline_s
        self._retries = retries
        self._sleep = sleep

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Make the call. Raises MedforallError."""
        request = _with_key(request)
        ends_at = time.monotonic() + (client_call_details.timeout or self._deadline_s)
        tried = 0
        while True:
            tried += 1
            left_s = ends_at - time.monotonic()
            call = continuation(self._details(client_call_details, left_s), request)
            if call.code() is grpc.StatusCode.OK:
                return call
            error = error_of(call)
            wait_s = self._retries.wait_s(tried, error)
            if not _may_try_again(error) or tried >= self._retries.attempts:
                raise error
            if wait_s is None or left_s <= wait_s:
                raise error
            self._sleep(wait_s)

    def _details(self, given: Any, left_s: float) -> Any:
        metadata = [pair for pair in given.metadata or () if pair[0] != "authorization"]
        metadata.append(("authorization", f"Bearer {self._token()}"))
        return _Details(given.method, max(0.001, left_s), metadata, given)


class _Details(grpc.ClientCallDetails):
    def __init__(self, method: str, timeout: float, metadata: list[Any], given: Any) -> None:
        self.method = method
        self.timeout = timeout
        self.metadata = tuple(metadata)
        self.credentials = given.credentials
        self.wait_for_ready = given.wait_for_ready
        self.compression = given.compression


def _with_key(request: Any) -> Any:
    """The request, with a key of its own if it takes one and has none: every try carries the same."""
    if _KEY not in request.DESCRIPTOR.fields_by_name or request.idempotency_key:
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    copy.idempotency_key = str(uuid.uuid4())
    return copy


def _may_try_again(error: MedforallError) -> bool:
    return error.code is grpc.StatusCode.UNAVAILABLE or error.reason in _RETRIED_REASONS
