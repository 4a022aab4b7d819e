"""The one place that makes a `google.rpc.Status`.

A domain error becomes its code, an `ErrorInfo` with its reason, a `BadRequest` with its violations, a
`RetryInfo` where waiting helps, and whatever messages it carries. Anything else becomes INTERNAL with the
request id alone, and is logged whole (redacted) by `observe`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

from scheduling.errors import (
    Conflict,
    DomainError,
    Exhausted,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    Reason,
    Refused,
    Stale,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

DOMAIN = "medforall.com"
DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"

# What the HTTP/2 headers of a reply may hold; a status that is larger would break the connection for some
# clients.
_STATUS_BYTES_MAX = 6_144
DETAIL_BYTES_MAX = 4_096
"""What one detail of a refusal may take: a larger one is left out, so whoever makes it keeps to this."""
_RETRY_DEFAULT_S = 1.0

_CODES: Mapping[type[DomainError], int] = {
    Invalid: code_pb2.INVALID_ARGUMENT,
    NotFound: code_pb2.NOT_FOUND,
    Conflict: code_pb2.ALREADY_EXISTS,
    Stale: code_pb2.ABORTED,
    Refused: code_pb2.FAILED_PRECONDITION,
    Forbidden: code_pb2.PERMISSION_DENIED,
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    Exhausted: code_pb2.RESOURCE_EXHAUSTED,
    Unavailable: code_pb2.UNAVAILABLE,
    Expired: code_pb2.DEADLINE_EXCEEDED,
    Unimplemented: code_pb2.UNIMPLEMENTED,
}
_RETRIED = (Exhausted, Unavailable)

GRPC_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

_INTERNAL_MESSAGE = "Something went wrong on our side; quote the request id when you report it."


def code_of(error: BaseException) -> int:
    """The `google.rpc.Code` of an exception."""
    if isinstance(error, NotImplementedError):
        return int(code_pb2.UNIMPLEMENTED)
    for cls in type(error).__mro__:
        if cls in _CODES:
            return _CODES[cls]
    return int(code_pb2.INTERNAL)


def status_of(error: BaseException, request_id: str) -> Status:
    """The status that a caller sees for `error`; never more of an unknown exception than the request id."""
    if isinstance(error, NotImplementedError):
        # What the generated base classes raise for an RPC that nobody has written yet.
        error = Unimplemented("This call is in the contract, but not built yet.")
    if not isinstance(error, DomainError):
        return _status(code_pb2.INTERNAL, _INTERNAL_MESSAGE, [_info(Reason.INTERNAL, {}, request_id)])
    required: list[Message] = [_info(error.reason, error.metadata, request_id)]
    if error.violations:
        required.append(_bad_request(error))
    retry = _retry_info(error)
    if retry is not None:
        required.append(retry)
    status = _status(code_of(error), error.message, required)
    _pack_while_small(status, (detail for detail in error.details if isinstance(detail, Message)))
    return status


def trailing_metadata(status: Status, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata that carry a status."""
    return ((DETAILS_KEY, status.SerializeToString()), (REQUEST_ID_KEY, request_id))


def _status(code: int, message: str, details: Iterable[Message]) -> Status:
    status = Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _info(reason: Reason, metadata: Mapping[str, str], request_id: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(
        reason=str(reason), domain=DOMAIN, metadata={**metadata, "requestId": request_id}
    )


def _bad_request(error: DomainError) -> error_details_pb2.BadRequest:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
        for violation in error.violations[:50]
    ]
    return error_details_pb2.BadRequest(field_violations=violations)


def _retry_info(error: DomainError) -> error_details_pb2.RetryInfo | None:
    wait_s = error.retry_after_s
    if wait_s is None:
        if not isinstance(error, _RETRIED):
            return None
        wait_s = _RETRY_DEFAULT_S
    delay = Duration()
    delay.FromMilliseconds(int(wait_s * 1_000))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _pack_while_small(status: Status, extras: Iterable[Message]) -> None:
    for extra in extras:
        packed = status.details.add()
        packed.Pack(extra)
        if status.ByteSize() > _STATUS_BYTES_MAX:
            del status.details[-1]
            return
