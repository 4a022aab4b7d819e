"""Refusals, with their reason and details read out of the gRPC status."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from medforall.type.v1 import scheduling_pb2

_DETAILS = "grpc-status-details-bin"


@dataclass
class MedforallError(Exception):
    """A call that was refused or failed.

    `reason` is the contract's ErrorReason without its prefix (`SLOT_ALREADY_BOOKED`), or the gRPC code's name when
    no service of medforall answered. `violations` are pairs of field and what is wrong with it.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    request_id: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: list[tuple[str, str]] = field(default_factory=list)
    conflict: scheduling_pb2.BookingConflict | None = None
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def error_of(call: grpc.Call) -> MedforallError:
    """The error of a failed call."""
    code = call.code()
    error = MedforallError(code=code, reason=code.name, message=call.details() or "")
    trailing = dict(call.trailing_metadata() or ())
    raw = trailing.get(_DETAILS)
    if isinstance(raw, bytes):
        try:
            status = Status.FromString(raw)
        except DecodeError:
            return error
        for detail in status.details:
            _read(detail, error)
    return error


def _read(detail: object, error: MedforallError) -> None:
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    conflict = scheduling_pb2.BookingConflict()
    if detail.Unpack(info):  # type: ignore[attr-defined]
        error.reason = info.reason
        error.metadata = dict(info.metadata)
        error.request_id = error.metadata.pop("requestId", "")
    elif detail.Unpack(bad):  # type: ignore[attr-defined]
        error.violations = [(one.field, one.description) for one in bad.field_violations]
    elif detail.Unpack(retry):  # type: ignore[attr-defined]
        error.retry_after_s = retry.retry_delay.ToMilliseconds() / 1_000
    elif detail.Unpack(conflict):  # type: ignore[attr-defined]
        error.conflict = conflict
