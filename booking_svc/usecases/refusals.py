"""Refusals as stored answers: what a caller was told is told again for the same idempotency key."""

from __future__ import annotations

from typing import Any, Final

import orjson

from booking_svc.model import Conflicts, FreeSlot, RoomLabel, Taken
from scheduling.errors import Conflict, DomainError, FieldViolation, Reason, Refused
from scheduling.facts import ResourceKind

STORED: Final = (Conflict, Refused)
"""Refusals that are answers. Others (malformed, stale, away) may turn out differently the next time."""

# The numbers are google.rpc.Code's, so that a row in the table can be read.
_CODES: Final[dict[type[DomainError], int]] = {Conflict: 6, Refused: 9}
_CLASSES: Final = {code: cls for cls, code in _CODES.items()}


def code_of(refusal: DomainError) -> int:
    """Return the status code under which a refusal of one of the STORED classes is kept."""
    return _CODES[type(refusal)]


def dump(refusal: DomainError) -> bytes:
    """Return a refusal as bytes."""
    return orjson.dumps(
        {
            "reason": refusal.reason.value,
            "message": refusal.message,
            "metadata": refusal.metadata,
            "violations": [[item.field, item.description] for item in refusal.violations],
            "retry_after_s": refusal.retry_after_s,
            "conflicts": refusal.alternatives if isinstance(refusal.alternatives, Conflicts) else None,
        }
    )


def load(status_code: int, raw: bytes) -> DomainError:
    """Return the refusal that `dump` wrote, marked as a replay in its metadata."""
    stored: dict[str, Any] = orjson.loads(raw)
    return _CLASSES[status_code](
        stored["message"],
        reason=Reason(stored["reason"]),
        metadata={**stored["metadata"], "replayed": "true"},
        violations=[FieldViolation(*item) for item in stored["violations"]],
        alternatives=_conflicts(stored["conflicts"]),
        retry_after_s=stored["retry_after_s"],
    )


def _conflicts(stored: dict[str, Any] | None) -> Conflicts | None:
    if stored is None:
        return None
    return Conflicts(
        taken=tuple(
            Taken(ResourceKind(item["kind"]), item["id"], Reason(item["reason"])) for item in stored["taken"]
        ),
        same_provider=tuple(_slot(item) for item in stored["same_provider"]),
        any_provider=tuple(_slot(item) for item in stored["any_provider"]),
    )


def _slot(stored: dict[str, Any]) -> FreeSlot:
    rooms = tuple(RoomLabel(**room) for room in stored.pop("rooms"))
    return FreeSlot(**stored, rooms=rooms)
