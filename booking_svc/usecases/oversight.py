"""Who did what, and emergency access: listed for admins, each listing audited."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import orjson

from booking_svc.directory.entities import Entry, Kind
from booking_svc.model import Caller
from booking_svc.store import oversight as sql
from booking_svc.store.constraints import constraints_named
from booking_svc.store.oversight import AuditRow, Grant
from booking_svc.store.session import Session
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.read_directory import PAGE_DEFAULT, require_clinic
from scheduling.errors import Invalid
from scheduling.ids import NewId

RowT = TypeVar("RowT")


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
        pending = session.queue(
            sql.LIST_AUDIT,
            session.clinic_id,
            query.actor or None,
            _pattern(query.action),
            query.entity_id or None,
            query.since.isoformat() if query.since else None,
            query.until.isoformat() if query.until else None,
            *_position(query.page_token),
            size + 1,
        )
        await session.run()
        found = [AuditRow(*row) for row in pending.rows()]
        self._recorder.audit_listing(session, caller, "audit")
        last = found[size - 1] if len(found) > size else None
        return RowPage(tuple(found[:size]), _token(last.at, last.id) if last else "")

    async def break_glass(self, session: Session, caller: Caller, patient_id: str, reason: str) -> Grant:
        """Grant an hour of access, with an audit row that says so. Raises NotFound for an unknown patient."""
        session.savepoint()
        await require_clinic(session)
        with constraints_named():
            pending = session.queue(
                sql.INSERT_GRANT,
                session.clinic_id,
                self._new_id(),
                caller.principal.subject,
                patient_id or None,
                reason,
            )
            await session.run()
        grant = Grant(*pending.rows()[0])
        self._recorder.record(session, caller, None, _entry(grant), location_ids=())
        return grant

    async def grants(
        self, session: Session, caller: Caller, *, active_only: bool, page_size: int, page_token: str
    ) -> RowPage[Grant]:
        """A page of grants, newest first."""
        await require_clinic(session)
        size = page_size or PAGE_DEFAULT
        pending = session.queue(
            sql.LIST_GRANTS, session.clinic_id, active_only, *_position(page_token), size + 1
        )
        await session.run()
        found = [Grant(*row) for row in pending.rows()]
        self._recorder.audit_listing(session, caller, "break_glass")
        last = found[size - 1] if len(found) > size else None
        return RowPage(tuple(found[:size]), _token(last.granted_at, last.id) if last else "")


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


def _token(at: datetime, row_id: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([at.isoformat(), row_id])).rstrip(b"=").decode()


def _position(token: str) -> Sequence[str | None]:
    if not token:
        return None, None
    try:
        at, row_id = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return datetime.fromisoformat(at).isoformat(), str(UUID(row_id))
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise Invalid.field("pageToken", "is none of ours") from None
