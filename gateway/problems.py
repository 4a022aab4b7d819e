"""What goes wrong at the HTTP edge itself, before or beside any RPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scheduling.errors import Exhausted, Reason, Unauthenticated


class HttpProblem(Exception):
    """A refusal that only HTTP knows; it carries its status, and the class's docstring is its message."""

    status = 400
    code = "BAD_REQUEST"

    def __init__(self, message: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.headers = dict(headers or {})
        super().__init__(self.message)


class MalformedRequest(HttpProblem):
    """The request is not well-formed."""

    code = "INVALID_ARGUMENT"


class NoRoute(HttpProblem):
    """There is nothing at this address."""

    status = 404
    code = "NOT_FOUND"


class MethodNotAllowed(HttpProblem):
    """This address does not take that method."""

    status = 405
    code = "METHOD_NOT_ALLOWED"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(headers={"allow": ", ".join(allowed)})


class OriginNotAllowed(HttpProblem):
    """Pages of this origin may not connect."""

    status = 403
    code = "ORIGIN_NOT_ALLOWED"


class BodyTimeout(HttpProblem):
    """The request did not arrive in time."""

    status = 408
    code = "REQUEST_TIMEOUT"


class BodyTooLarge(HttpProblem):
    """The request body is too large."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"

    def __init__(self, bytes_max: int) -> None:
        # What is left of the body is not read: the connection cannot be used again.
        super().__init__(
            f"The request body is larger than {bytes_max} bytes.", headers={"connection": "close"}
        )


class UnsupportedMediaType(HttpProblem):
    """The body must be application/json in UTF-8, without a content encoding."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class ClientGone(Exception):
    """The client closed the connection: nobody is left to answer."""


class RateLimited(Exhausted):
    """Too many requests."""

    default_reason = Reason.RATE_LIMIT_EXCEEDED

    def __init__(self, *, retry_after_s: int, limit_per_min: int, headers: Mapping[str, str]) -> None:
        unit = "second" if retry_after_s == 1 else "seconds"
        super().__init__(
            f"Too many requests. Please try again in {retry_after_s} {unit}.",
            retry_after_s=float(retry_after_s),
        )
        self.limit_per_min = limit_per_min
        self.headers = dict(headers)


class UnknownCaller(Unauthenticated):
    """The caller is not known; `headers` say how often its address may still try."""

    def __init__(self, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = dict(headers)


class Full(Exhausted):
    """This instance serves as many requests as it can; please try again."""

    default_reason = Reason.OVERLOADED
