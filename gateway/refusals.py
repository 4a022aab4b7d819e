"""Refusals as the seed's error body: `{"error", "message", "details", "requestId"}`, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

from chassis.interceptors.errors import DETAILS_KEY, status_of
from gateway.http_policy import IDEMPOTENT_REPLAYED, http_status, retry_after
from gateway.messages import Reply, json_reply
from gateway.problems import HttpProblem, RateLimited, UnknownCaller
from gateway.transcoding.encoding import Encoder
from gateway.transcoding.names import RestNames

_OUR_TYPES = "medforall."
_SILENT_CODES = frozenset((code_pb2.UNKNOWN, code_pb2.INTERNAL, code_pb2.DATA_LOSS))

# What a client reads when the status comes from the transport and not from a service of ours.
_TRANSPORT_MESSAGES = {
    code_pb2.UNAVAILABLE: "A service that this call needs cannot be reached; please try again.",
    code_pb2.DEADLINE_EXCEEDED: "The call took too long and was given up.",
    code_pb2.UNIMPLEMENTED: "This call is not implemented.",
    code_pb2.RESOURCE_EXHAUSTED: "The service is full; please try again.",
}
_INTERNAL_MESSAGE = "Something went wrong on our side; quote the request id when you report it."
_TRANSPORT_RETRY_S = 1.0


@dataclass(slots=True)
class Refusal:
    """A refusal on its way to the client."""

    status: int
    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    # Fields beside the four that every refusal has: the seed's 429 body has three.
    extra: dict[str, Any] = field(default_factory=dict)

    def reply(self, request_id: str) -> Reply:
        """The answer to send."""
        body = {
            "error": self.code,
            "message": self.message,
            **self.extra,
            "details": self.details,
            "requestId": request_id,
        }
        return json_reply(self.status, body, {"cache-control": "no-store", **self.headers})


class Refusals:
    """Makes refusals of exceptions."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def of(self, error: BaseException, request_id: str, names: RestNames | None = None) -> Refusal:
        """The refusal that `error` is; anything unknown is a 500 that says the request id alone.

        `names` spells what a service says of the request.
        """
        if isinstance(error, HttpProblem):
            return Refusal(error.status, error.code, error.message, headers=dict(error.headers))
        if isinstance(error, grpc.aio.AioRpcError):
            refusal = self._of_status(_status_of_call(error))
            return refusal if names is None else _spelled(refusal, names)
        refusal = self._of_status(status_of(error, request_id))
        if isinstance(error, RateLimited | UnknownCaller):
            refusal.headers |= error.headers
        if isinstance(error, RateLimited):
            refusal.extra = {
                "retryAfter": int(error.retry_after_s or 1),
                "limit": error.limit_per_min,
                "window": "1 minute",
            }
        return refusal

    def _of_status(self, status: Status) -> Refusal:
        refusal = Refusal(0, code_pb2.Code.Name(status.code), status.message)
        if status.code in _SILENT_CODES:
            refusal.code, refusal.message = "INTERNAL", _INTERNAL_MESSAGE
        for packed in status.details:
            self._add(packed, refusal)
        refusal.status = http_status(status.code, refusal.code)
        if refusal.status == 401:
            refusal.headers["www-authenticate"] = 'Bearer realm="medforall"'
        return refusal

    def _add(self, packed: PackedAny, refusal: Refusal) -> None:
        detail = _unpack(packed)
        match detail:
            case error_details_pb2.ErrorInfo():
                refusal.code = detail.reason
                if detail.metadata.get("replayed") == "true":
                    refusal.headers[IDEMPOTENT_REPLAYED] = "true"
                refusal.details |= {
                    key: value for key, value in detail.metadata.items() if key != "requestId"
                }
            case error_details_pb2.BadRequest():
                refusal.details["violations"] = [
                    {"field": one.field, "description": one.description} for one in detail.field_violations
                ]
            case error_details_pb2.RetryInfo():
                refusal.headers["retry-after"] = retry_after(detail.retry_delay.ToMilliseconds() / 1_000)
            case Message() if detail.DESCRIPTOR.full_name.startswith(_OUR_TYPES):
                name = detail.DESCRIPTOR.name
                refusal.details[name[0].lower() + name[1:]] = self._encoder.encode(detail)


def _spelled(refusal: Refusal, names: RestNames) -> Refusal:
    """The refusal in the names of REST: its violations, and its message, which may begin with one of their fields."""
    message = refusal.message
    for violation in refusal.details.get("violations", ()):
        field = violation["field"]
        violation["field"] = names.path(field)
        violation["description"] = names.text(violation["description"])
        if field and message.startswith(f"{field}: "):
            message = violation["field"] + message[len(field) :]
    refusal.message = names.text(message)
    return refusal


def _unpack(packed: PackedAny) -> Message | None:
    """The message in an Any, or None for one that this build does not know."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.type_url.rpartition("/")[2])
        message = message_factory.GetMessageClass(descriptor)()
        packed.Unpack(message)
    except (KeyError, DecodeError):
        return None
    return message


def _status_of_call(error: grpc.aio.AioRpcError) -> Status:
    """The status that a service packed, or one for what the transport says."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            try:
                return Status.FromString(value)
            except DecodeError:
                break
    code = int(error.code().value[0])
    status = Status(code=code, message=_TRANSPORT_MESSAGES.get(code) or (error.details() or ""))
    info = error_details_pb2.ErrorInfo(reason=_transport_reason(code))
    status.details.add().Pack(info)
    if code in (code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(_TRANSPORT_RETRY_S * 1_000))
        status.details.add().Pack(retry)
    return status


def _transport_reason(code: int) -> str:
    if code == code_pb2.UNIMPLEMENTED:
        return "NOT_IMPLEMENTED"
    if code == code_pb2.RESOURCE_EXHAUSTED:
        return "OVERLOADED"
    return "INTERNAL" if code in _SILENT_CODES else str(code_pb2.Code.Name(code))
