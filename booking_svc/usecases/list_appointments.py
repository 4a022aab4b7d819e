"""Reading many appointments, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from booking_svc.model import Appointment
from booking_svc.store.directory_statements import READ_RESOURCE_KIND
from booking_svc.store.session import Session
from booking_svc.usecases import access
from booking_svc.usecases.commands import List
from booking_svc.usecases.page_tokens import Listing
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
            listing = _listing(command)
            start_min, after_id = listing.position(session.cipher, command.page_token) or (first, _FIRST_ID)
            found = session.appointments(
                instant_of(first),
                instant_of(end),
                [status.value for status in command.statuses or _SHOWN],
                after=(instant_of(start_min), after_id),
                limit=limit + 1,
                offset=offset,
                filters=filters,
            )
            session.rollback()
            await session.run()
            shown = found.get()[:limit]
            token = ""
            if len(found.get()) > limit:
                token = listing.next_token(session.cipher, (shown[-1].start_min, shown[-1].id))
            return Page(tuple(shown), token, max(1, command.page), limit)

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


def _listing(command: List) -> Listing:
    """The list without where its pages begin and how long they are."""
    filters = (
        command.provider_id, command.patient_id, command.location_id, command.date, command.date_range,
        sorted(command.statuses),
    )  # fmt: skip
    return Listing("appointment", filters)
