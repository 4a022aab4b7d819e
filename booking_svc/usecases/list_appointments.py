"""Reading many appointments, page by page."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from booking_svc.model import Appointment
from booking_svc.store.directory_statements import READ_RESOURCE_KIND
from booking_svc.store.session import Session
from booking_svc.usecases import access
from booking_svc.usecases.commands import List
from booking_svc.usecases.transactions import Transactions
from chassis.auth.principal import Principal, Role
from scheduling import localtime
from scheduling.appointment import AppointmentStatus
from scheduling.clock import instant_of, minutes_of
from scheduling.errors import Forbidden, Invalid, NotFound
from scheduling.facts import ResourceKind

DAYS_DEFAULT: Final = 31
DAYS_MAX: Final = 93
ROWS_DEFAULT: Final = 50
ROWS_MAX: Final = 200
DEPTH_MAX: Final = 10_000

_DAY_MIN: Final = 1440
_FIRST_ID: Final = str(UUID(int=0))
_SHOWN: Final = tuple(
    status
    for status in AppointmentStatus
    if status not in (AppointmentStatus.HELD, AppointmentStatus.RELEASED, AppointmentStatus.EXPIRED)
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page; `next_token` is empty on the last one."""

    appointments: tuple[Appointment, ...]
    next_token: str
    page: int
    limit: int


class ListAppointments:
    """Lists what the caller may see."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def __call__(self, command: List) -> Page:
        """Return a page, by start, then id. Raises Invalid, Forbidden and NotFound."""
        filters = _filters(command)
        limit = min(command.limit or ROWS_DEFAULT, ROWS_MAX)
        offset = _offset(command, limit)

        async def ask(session: Session) -> Page:
            reply = session.zone(command.location_id)
            kinds = {
                kind: session.queue(READ_RESOURCE_KIND, session.clinic_id, wanted_id)
                for kind, wanted_id in _resources(command).items()
            }
            await session.run()
            known = reply.get()
            if known is None or known[1] == access.ARCHIVED:
                raise NotFound("There is no such location.", metadata={"resource": "location"})
            for kind, pending in kinds.items():
                if pending.row() != (kind.value,):
                    raise NotFound(f"There is no such {kind}.", metadata={"resource": kind.value})
            zone, _, now = known
            first, end = _range(command, zone, now)
            after = _resume(command.page_token, _digest(command)) or (instant_of(first), _FIRST_ID)
            found = session.appointments(
                instant_of(first),
                instant_of(end),
                [status.value for status in command.statuses or _SHOWN],
                after=after,
                limit=limit + 1,
                offset=offset,
                filters=filters,
            )
            session.rollback()
            await session.run()
            return _page(command, found.get(), limit)

        return await self._transactions.read(command.clinic_id, ask)


def _filters(command: List) -> dict[str, str]:
    """The filters by column, with what the caller's role adds."""
    principal = command.caller.principal
    wanted = {
        "provider_id": _own(principal, Role.PROVIDER, principal.provider_id, command.provider_id),
        "patient_id": _own(principal, Role.PATIENT, principal.patient_id, command.patient_id),
        "location_id": command.location_id,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _resources(command: List) -> dict[ResourceKind, str]:
    """The provider and the patient that are asked for, which must be the clinic's."""
    wanted = {ResourceKind.PROVIDER: command.provider_id, ResourceKind.PATIENT: command.patient_id}
    return {kind: wanted_id for kind, wanted_id in wanted.items() if wanted_id is not None}


def _own(principal: Principal, role: Role, own_id: str | None, wanted_id: str | None) -> str | None:
    """What a caller of `role` may ask for is its own id alone; others may ask for any."""
    if principal.role is not role:
        return wanted_id
    if own_id is None or wanted_id not in (None, own_id):
        raise Forbidden(f"A {role} lists its own appointments only.")
    return own_id


def _offset(command: List, limit: int) -> int:
    if command.page_token and command.page > 1:
        raise Invalid.field("page", "does not go together with page_token")
    offset = max(0, command.page - 1) * limit
    if offset + limit > DEPTH_MAX:
        raise Invalid.field("page", f"goes deeper than {DEPTH_MAX} rows: use page_token")
    return offset


def _range(command: List, zone: str, now: datetime) -> tuple[int, int]:
    """The starts that are listed, `[first, end)` in minutes since the epoch."""
    if command.date and command.date_range:
        raise Invalid.field("date_range", "does not go together with date")
    if command.date:
        return localtime.day_bounds(zone, localtime.parse_date(command.date))
    if not command.date_range:
        now_min = minutes_of(now)
        return now_min, now_min + DAYS_DEFAULT * _DAY_MIN
    first_text, comma, end_text = command.date_range.partition(",")
    if not comma:
        raise Invalid.field("date_range", "must be start,end")
    first = localtime.parse_local(first_text.strip(), zone, "date_range")
    end = _end(end_text.strip(), zone)
    if end <= first:
        raise Invalid.field("date_range", "must end later than it starts")
    # A clock change may make the longest range an hour or so longer.
    if end - first > DAYS_MAX * _DAY_MIN + 180:
        raise Invalid.field("date_range", f"must span at most {DAYS_MAX} days")
    return first, end


def _end(text: str, zone: str) -> int:
    """Where a range ends: a date includes its day, a date-time is excluded."""
    if "T" in text or ":" in text:
        return localtime.parse_local(text, zone, "date_range")
    day = localtime.parse_date(text, "date_range")
    return localtime.day_bounds(zone, day + timedelta(days=1))[0]


def _page(command: List, found: list[Appointment], limit: int) -> Page:
    shown = found[:limit]
    token = _token(shown[-1], _digest(command)) if len(found) > limit else ""
    return Page(tuple(shown), token, max(1, command.page), limit)


def _digest(command: List) -> bytes:
    """What a page token is bound to: the filters of the pages before."""
    filters = (
        command.clinic_id, command.provider_id, command.patient_id, command.location_id, command.date,
        command.date_range, sorted(command.statuses),
    )  # fmt: skip
    return hashlib.blake2b(repr(filters).encode(), digest_size=8).digest()


def _token(last: Appointment, digest: bytes) -> str:
    raw = digest + last.start_min.to_bytes(8, "big", signed=True) + UUID(last.id).bytes
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _resume(token: str, digest: bytes) -> tuple[datetime, str] | None:
    """Where the page before ended. Raises Invalid for a token of other filters, or of nobody."""
    if not token:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32 or raw[:8] != digest:
        raise Invalid.field("page_token", "belongs to a list with other filters")
    start_min = int.from_bytes(raw[8:16], "big", signed=True)
    return instant_of(start_min), str(UUID(bytes=raw[16:]))
