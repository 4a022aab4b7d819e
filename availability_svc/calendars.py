"""Calendars as they are projected: buckets of versioned entries.

A *calendar* is what is taken of one lockable resource (a provider, room, equipment item or quota). Every
change of it raises its version by one, under its lock. A provider's calendar also holds the claims of its
gaps, which have no row to lock of their own.

A *bucket* is a calendar's entries in BUCKET_DAYS days. An *entry* is what one appointment claims of the
calendar, at the version of the change that made it so; an appointment that claims nothing any more leaves a
*tombstone*, so that an older change which arrives late finds something newer.

On the way to Redis a bucket is its generation, its base (the version that its snapshot had: changes up to it
are in), and records of RECORD_BYTES each. The Lua scripts beside the store know this layout too.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

from scheduling import timeline
from scheduling.busy import SERIALS, Calendar
from scheduling.facts import Claim
from scheduling.timeline import Horizon

DAY_MIN: Final = 1440
BUCKET_DAYS: Final = 14
"""Chosen by measuring, see docs/performance.md: one search reads few keys, one change rewrites few bytes."""

BUCKET_MIN: Final = BUCKET_DAYS * DAY_MIN
GENERATION_BYTES: Final = 8
VERSION_BYTES: Final = 6
HEADER_BYTES: Final = GENERATION_BYTES + VERSION_BYTES
# Appointment, resource, version in two parts, first and last minute, unit, and when a hold ends in milliseconds.
_RECORD: Final = struct.Struct(">16s16sHIIIHQ")
_TIMES: Final = struct.Struct(">38xIIHQ")
_RESOURCES: Final = struct.Struct(">16x16s24x")
RECORD_BYTES: Final = _RECORD.size
_NO_RESOURCE: Final = bytes(16)
_NEVER_MIN: Final = 1 << 32
_MS_A_MINUTE: Final = 60_000


@dataclass(frozen=True, slots=True)
class CalendarChange:
    """One change of one calendar by one appointment: from `version` on it claims exactly `claims` of it.

    `touched` are the minutes in which something is or was claimed: only their buckets are rewritten.
    """

    clinic_id: str
    calendar_id: str
    version: int
    appointment_id: str
    claims: tuple[Claim, ...]
    touched: tuple[tuple[int, int], ...]

    @property
    def buckets(self) -> tuple[int, ...]:
        """The numbers of the buckets that the change touches."""
        return tuple(sorted({bucket for span in self.touched for bucket in buckets_of(*span)}))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which changes a bucket contains: all up to `upto`, and those in `beyond`."""

    upto: int
    beyond: frozenset[int] = frozenset()

    def has(self, version: int) -> bool:
        """Tell whether the change that made `version` is in."""
        return version <= self.upto or version in self.beyond


class StoredCalendar(Calendar):
    """A calendar over its records as they are stored: claims are made of them only when somebody asks.

    A search asks for timelines, which are folded from the records directly, and remembers far less than claims.
    """

    __slots__ = ("_claims", "_raw")

    def __init__(self, raw: bytes) -> None:  # the parent's claims are never set
        self._raw = raw
        self.serial = next(SERIALS)
        self._claims: tuple[Claim, ...] | None = None
        self._by_unit = None
        self._fleeting = ()
        self._span = Horizon(0, 0)

    @property
    def claims(self) -> tuple[Claim, ...]:  # type: ignore[override]  # read-only here, as its users take it
        """The claims, made once."""
        if self._claims is None:
            self._claims = tuple(claims_in(self._raw))
        return self._claims

    @property
    def has_holds(self) -> bool:
        """Tell whether some of what is taken is taken only until a hold ends."""
        if self._by_unit is None:
            self._derive()
        return bool(self._fleeting)

    def _derive(self) -> None:
        """Fold the records that never expire into one timeline a unit; holds become claims."""
        grouped: dict[int, list[tuple[int, int]]] = {}
        first_min, last_min = _NEVER_MIN, 0
        for start_min, end_min, unit, expires_ms in _TIMES.iter_unpack(self._raw):
            if expires_ms:
                continue
            first_min = start_min if start_min < first_min else first_min  # noqa: FURB136 - dearer as a call
            last_min = end_min if end_min > last_min else last_min  # noqa: FURB136
            if unit in grouped:
                grouped[unit].append((start_min, end_min))
            else:
                grouped[unit] = [(start_min, end_min)]
        if grouped:
            self._span = Horizon(first_min, last_min)
        if sum(map(len, grouped.values())) < len(self._raw) // RECORD_BYTES:
            self._fleeting = tuple(claim for claim in self.claims if claim.expires_min is not None)
        self._by_unit = {unit: timeline.intervals(self._span, found) for unit, found in grouped.items()}


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is taken of a calendar in one bucket, by resource, and which changes are in it."""

    coverage: Coverage
    calendars: dict[str, Calendar] = field(hash=False)
    size_bytes: int
    digest: bytes
    """Sixteen bytes that differ whenever the records do."""
    floor: bytes = b""
    """The floor it was read beside: while that stays the same, so does the bucket."""


def buckets_of(start_min: int, end_min: int) -> range:
    """Return the numbers of the buckets that `[start_min, end_min)` touches."""
    return range(start_min // BUCKET_MIN, -(-end_min // BUCKET_MIN))


def bucket_span(bucket: int) -> tuple[int, int]:
    """Return the minutes `[start, end)` of a bucket."""
    return bucket * BUCKET_MIN, (bucket + 1) * BUCKET_MIN


def version_bytes(version: int) -> bytes:
    """Return a version as its six bytes."""
    return version.to_bytes(VERSION_BYTES, "big")


def entry(claims: Iterable[Claim], appointment_id: str, version: int, bucket: int) -> bytes:
    """Return an appointment's records in one bucket; a tombstone when it claims nothing there."""
    start, end = bucket_span(bucket)
    inside = [claim for claim in claims if claim.start_min < end and claim.end_min > start]
    if inside:
        return b"".join(_record(claim, version) for claim in inside)
    high, low = divmod(version, 1 << 32)
    return _RECORD.pack(UUID(appointment_id).bytes, _NO_RESOURCE, high, low, 0, 0, 0, 0)


def records(claims: Iterable[Claim], version: int) -> bytes:
    """Return a snapshot's records: each entry at the snapshot's version, in a stable order."""
    return b"".join(sorted(_record(claim, version) for claim in claims))


def claims_in(raw: bytes) -> list[Claim]:
    """Return the claims of a run of records; tombstones are none."""
    return [
        Claim(_text(resource), unit, start, end, _text(appointment), minutes_of_ms(expires_ms))
        for appointment, resource, _high, _low, start, end, unit, expires_ms in _RECORD.iter_unpack(raw)
        if unit
    ]


def decode_bucket(raw: bytes, coverage: Coverage, floor: bytes = b"", known: Bucket | None = None) -> Bucket:
    """Return the bucket that Redis holds, header included; see `bucket_of_records`."""
    base = int.from_bytes(raw[GENERATION_BYTES:HEADER_BYTES], "big")
    seen = Coverage(max(coverage.upto, base), coverage.beyond)
    return bucket_of_records(raw[HEADER_BYTES:], seen, floor, known)


def bucket_of_records(
    raw: bytes, coverage: Coverage, floor: bytes = b"", known: Bucket | None = None
) -> Bucket:
    """Return the bucket of a run of records.

    Its calendars are those of `known`, the same bucket as it was read before, when its records are the same: what
    has been derived of them is still right then.
    """
    digest = blake2b(raw, digest_size=16).digest()
    is_known = known is not None and known.digest == digest
    return Bucket(
        coverage, known.calendars if known and is_known else calendars_in(raw), len(raw), digest, floor
    )


def calendars_in(raw: bytes) -> dict[str, Calendar]:
    """Return the engine's calendars of a run of records, by resource."""
    named = {resource for (resource,) in _RESOURCES.iter_unpack(raw)}
    if len(named) == 1 and _NO_RESOURCE not in named:  # as those of rooms, equipment, patients
        return {_text(named.pop()): StoredCalendar(raw)}
    grouped: dict[bytes, list[bytes]] = {}
    for at in range(0, len(raw), RECORD_BYTES):
        grouped.setdefault(raw[at + 16 : at + 32], []).append(raw[at : at + RECORD_BYTES])
    grouped.pop(_NO_RESOURCE, None)
    return {_text(resource): StoredCalendar(b"".join(found)) for resource, found in grouped.items()}


def whole_ms(expires_min: float | None) -> int:
    """Return when a hold's claim ends, in whole milliseconds, rounded up as in events; 0 for no hold."""
    return 0 if expires_min is None else -(-round(expires_min * _MS_A_MINUTE * 1_000) // 1_000)


def minutes_of_ms(expires_ms: int) -> float | None:
    """Return the same in minutes, None for 0."""
    return expires_ms / _MS_A_MINUTE if expires_ms else None


def _record(claim: Claim, version: int) -> bytes:
    high, low = divmod(version, 1 << 32)
    return _RECORD.pack(
        UUID(claim.appointment_id).bytes,
        UUID(claim.resource_id).bytes,
        high,
        low,
        claim.start_min,
        claim.end_min,
        claim.unit,
        whole_ms(claim.expires_min),
    )


@lru_cache(maxsize=131_072)
def _text(raw: bytes) -> str:
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
