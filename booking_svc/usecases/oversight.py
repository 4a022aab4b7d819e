"""Who did what, and emergency access: listed for admins, each listing audited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from booking_svc.directory.entities import Entry, Kind
from booking_svc.model import Caller
from booking_svc.reasons import require_said
from booking_svc.store import oversight as sql
from booking_svc.store.constraints import constraints_named
from booking_svc.store.oversight import AuditRow, Grant, audit_row_of, grant_of, sealed_reason
from booking_svc.store.session import Session
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.page_tokens import Listing
from booking_svc.usecases.read_directory import PAGE_DEFAULT, require_clinic
from scheduling.ids import NewId

_NEWEST: Final = ("infinity", str(UUID(int=2**128 - 1)))
"""Before every row of a list that has the newest first."""


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


RowT = TypeVar("RowT", bound=_Identified)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which audit rows; empty filters ask nothing, a trailing `*` of `action` matches a beginning."""

    actor: str = ""
    action: str = ""
    entity_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class RowPage(Generic[RowT]):
    """Rows, newest first; `next_token` is empty on the last page."""

    rows: tuple[RowT, ...]
    next_token: str


class Oversight:
    """The work of the calls about audit and emergency access."""

    def __init__(self, recorder: DirectoryRecorder, new_id: NewId) -> None:
        self._recorder = recorder
        self._new_id = new_id

    async def audit(self, session: Session, caller: Caller, query: AuditQuery) -> RowPage[AuditRow]:
        """A page of audit rows; the look is audited itself."""
        await require_clinic(session)
        size = query.page_size or PAGE_DEFAULT
        filters = (
            query.actor or None,
            _pattern(query.action),
            query.entity_id or None,
            query.since.isoformat() if query.since else "-infinity",
            query.until.isoformat() if query.until else "infinity",
        )
        listing = Listing("audit_event", filters)
        after = listing.position(session.cipher, query.page_token) or _NEWEST
        pending = session.queue(sql.LIST_AUDIT, session.clinic_id, *filters, *after, size + 1)
        await session.run()
        found = [audit_row_of(row, session.cipher) for row in pending.rows()]
        self._recorder.audit_listing(session, caller, "audit")
        return _page(session, listing, found, size, lambda row: row.at)

    async def break_glass(self, session: Session, caller: Caller, patient_id: str, reason: str) -> Grant:
        """Grant an hour of access, with an audit row that says so. Raises NotFound for an unknown patient."""
        require_said(reason, "reason")
        session.savepoint()
        await require_clinic(session)
        grant_id = self._new_id()
        with constraints_named():
            pending = session.queue(
                sql.INSERT_GRANT,
                session.clinic_id,
                grant_id,
                caller.principal.subject,
                patient_id or None,
                sealed_reason(reason, grant_id, session.cipher),
            )
            await session.run()
        grant = grant_of(pending.rows()[0], session.cipher)
        self._recorder.record(session, caller, None, _entry(grant))
        return grant

    async def grants(
        self, session: Session, caller: Caller, *, active_only: bool, page_size: int, page_token: str
    ) -> RowPage[Grant]:
        """A page of grants, newest first."""
        await require_clinic(session)
        size = page_size or PAGE_DEFAULT
        listing = Listing("break_glass", [active_only])
        after = listing.position(session.cipher, page_token) or (None, None)
        pending = session.queue(sql.LIST_GRANTS, session.clinic_id, active_only, *after, size + 1)
        await session.run()
        found = [grant_of(row, session.cipher) for row in pending.rows()]
        self._recorder.audit_listing(session, caller, "break_glass")
        return _page(session, listing, found, size, lambda grant: grant.granted_at)


def _entry(grant: Grant) -> Entry:
    """The grant as an entry, so that it is announced and audited like every change."""
    return Entry(
        kind=Kind.BREAK_GLASS,
        clinic_id=grant.clinic_id,
        id=grant.id,
        record={"patient_id": grant.patient_id or "", "expires_at": grant.expires_at.isoformat()},
        active=True,
        version=1,
        created_at=grant.granted_at,
        updated_at=grant.granted_at,
    )


def _pattern(action: str) -> str | None:
    if not action:
        return None
    escaped = action.rstrip("*").replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return escaped + "%" if action.endswith("*") else escaped


def _page(
    session: Session,
    listing: Listing,
    found: Sequence[RowT],
    size: int,
    at: Callable[[RowT], datetime],
) -> RowPage[RowT]:
    """The rows shown of one more than a page has, which tells whether there is another page."""
    shown = tuple(found[:size])
    if len(found) <= size:
        return RowPage(shown, "")
    return RowPage(shown, listing.next_token(session.cipher, (at(shown[-1]).isoformat(), shown[-1].id)))
