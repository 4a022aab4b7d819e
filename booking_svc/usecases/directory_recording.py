"""Every change of the directory leaves an event and an audit row in its own transaction; so does reading a patient."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import orjson

from booking_svc.directory.entities import Entry, Kind
from booking_svc.directory.reach import EVERYWHERE, Reach
from booking_svc.model import Caller
from booking_svc.outbox.directory_events import directory_event_bytes
from booking_svc.store import directory_statements as sql
from booking_svc.store.oversight import audit_reason
from booking_svc.store.session import Session
from scheduling.ids import NewId

_RESOURCES: Final = frozenset({Kind.PROVIDER, Kind.ROOM, Kind.EQUIPMENT, Kind.PATIENT})
_VERBS: Final = {"created": "create", "updated": "update", "deactivated": "deactivate"}


class DirectoryRecorder:
    """Queues what follows from a change."""

    def __init__(self, new_id: NewId, now: Callable[[], datetime]) -> None:
        self._new_id = new_id
        self._now = now

    def now(self) -> datetime:
        """The moment that events are dated by."""
        return self._now()

    def record(
        self,
        session: Session,
        caller: Caller,
        before: Entry | None,
        entry: Entry,
        *,
        reach: Reach = EVERYWHERE,
        reason: str = "",
    ) -> None:
        """Queue the event and the audit row, in which the caller's reason is sealed.

        `reach` is what availability the change may touch.
        """
        change = _change(before, entry)
        event_id = self._new_id()
        payload = directory_event_bytes(
            entry,
            change,
            event_id=event_id,
            occurred_at=self._now(),
            reach=reach,
            resource_id=entry.id if entry.kind in _RESOURCES else entry.record.get("resource_id", ""),
            traceparent=caller.traceparent,
        )
        session.queue(
            sql.INSERT_DIRECTORY_EVENT,
            event_id,
            session.clinic_id,
            entry.id,
            entry.version,
            payload,
            caller.traceparent,
        )
        old, new = _difference(before, entry)
        what = (f"{entry.kind.value}.{_VERBS[change]}", entry.kind.value, entry.id)
        self._insert(session, caller, what, (old, new), reason)

    def audit(
        self,
        session: Session,
        caller: Caller,
        action: str,
        entry: Entry,
    ) -> None:
        """Queue an audit row about an entry."""
        self._insert(session, caller, (action, entry.kind.value, entry.id), (None, None))

    def audit_listing(self, session: Session, caller: Caller, listed: str) -> None:
        """Queue an audit row that says that a list was looked at."""
        self._insert(session, caller, (f"{listed}.list", listed, None), (None, None))

    def _insert(
        self,
        session: Session,
        caller: Caller,
        what: tuple[str, str, str | None],
        difference: tuple[str | None, str | None],
        reason: str = "",
    ) -> None:
        row_id = self._new_id()
        session.queue(
            sql.INSERT_DIRECTORY_AUDIT,
            session.clinic_id,
            row_id,
            caller.principal.subject,
            caller.principal.role.value,
            *what,
            caller.address,
            caller.request_id,
            *difference,
            audit_reason(reason, row_id, session.cipher),
        )


def _change(before: Entry | None, entry: Entry) -> str:
    if before is None:
        return "created"
    return "deactivated" if before.active and not entry.active else "updated"


def _difference(before: Entry | None, entry: Entry) -> tuple[str | None, str | None]:
    """The changed fields before and after, as JSON; of a patient only which fields changed."""
    new = {**entry.record, "active": entry.active}
    old = {**before.record, "active": before.active} if before else {}
    changed = [name for name in new if before is None or old.get(name) != new[name]]
    if entry.kind is Kind.PATIENT:
        return None, orjson.dumps({"fields": sorted(changed)}).decode()
    shown = orjson.dumps({name: new[name] for name in changed}).decode()
    return (orjson.dumps({name: old.get(name) for name in changed}).decode() if before else None), shown
