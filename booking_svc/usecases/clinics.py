"""Clinics: set up and suspended by the operators of the installation, changed by their own admins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from booking_svc.directory.changing import changed
from booking_svc.directory.checks import checked
from booking_svc.directory.entities import Edited, Entity, Entry, Kind, Record
from booking_svc.model import Caller
from booking_svc.store import oversight as sql
from booking_svc.store.constraints import constraints_named
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.session import Session
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.displacement import require_no_visits_ahead
from booking_svc.usecases.edit_directory import lock_whole_directory, require_etag
from chassis.auth.principal import Role
from scheduling.errors import Conflict, NotFound, Reason, Refused
from scheduling.ids import NewId, canonical_id

CLINIC: Final = Entity(kind=Kind.CLINIC, table="clinic", columns={}, needed=("name", "default_timezone"))
_CREATED: Final = UUID("6d656466-6f72-5a11-8000-636c696e6963")
_SETTABLE: Final = ("name", "default_timezone", "public_search", "requests_per_minute")


@dataclass(frozen=True, slots=True)
class PublicClinic:
    """What anybody may know of a clinic that opened public search."""

    clinic: Entry
    locations: list[tuple[Any, ...]]
    services: list[tuple[Any, ...]]


class Clinics:
    """The work of every call about clinics."""

    def __init__(self, recorder: DirectoryRecorder, new_id: NewId) -> None:
        self._recorder = recorder
        self._new_id = new_id

    def id_for(self, caller: Caller, wanted: str) -> str:
        """The id a new clinic gets: the wanted one, else one that follows from the idempotency key, else a new one.

        So a repeated call meets the clinic that the first one made.
        """
        if wanted:
            return canonical_id(wanted)
        if caller.idempotency_key:
            return str(uuid5(_CREATED, f"{caller.principal.subject}|{caller.idempotency_key}"))
        return self._new_id()

    async def create(
        self, session: Session, caller: Caller, record: Record, *, is_id_of_key: bool = False
    ) -> tuple[Entry, bool]:
        """Create the session's clinic; the flag tells that it was there already with the same content.

        `is_id_of_key` says that the clinic's id follows from the idempotency key: another content is another request.
        """
        filled = checked(CLINIC, record)
        pending = session.queue(sql.INSERT_CLINIC, session.clinic_id, *[filled[name] for name in _SETTABLE])
        with constraints_named():
            await session.run()
        row = pending.row()
        if row is None:
            return await self._existing(session, filled, is_id_of_key=is_id_of_key), True
        entry = sql.clinic_of(row)
        self._recorder.record(session, caller, None, entry, location_ids=())
        return entry, False

    async def get(self, session: Session, caller: Caller) -> Entry:
        """The clinic; its operators see an archived one, its users do not."""
        entry = await _read(session, sql.READ_CLINIC)
        if entry.record["status"] == "archived" and caller.principal.role is not Role.PLATFORM:
            raise NotFound("No such clinic.")
        return entry

    async def update(self, session: Session, caller: Caller, changes: Record, etag: str) -> Edited:
        """Change name, zone, public search or limits."""
        await lock_whole_directory(DirectoryStore(session))
        session.savepoint()
        before = await _read(session, sql.LOCK_CLINIC)
        if before.record["status"] == "archived":
            raise NotFound("No such clinic.")
        require_etag(before, etag)
        record = checked(CLINIC, changed(before.record, changes))
        if record["default_timezone"] != before.record["default_timezone"]:
            await require_no_visits_ahead(session, None)
        return await self._write(session, caller, before, record)

    async def set_status(self, session: Session, caller: Caller, status: str, reason: str) -> Edited:
        """Activate, suspend or archive; no booking that was judged before commits after it. The reason is audited."""
        await lock_whole_directory(DirectoryStore(session))
        session.savepoint()
        before = await _read(session, sql.LOCK_CLINIC)
        return await self._write(session, caller, before, {**before.record, "status": status}, reason)

    async def public(self, session: Session) -> PublicClinic:
        """What anybody may know. Raises NotFound unless the clinic is active and has opened public search."""
        locations = session.queue(sql.PUBLIC_LOCATIONS, session.clinic_id)
        services = session.queue(sql.PUBLIC_SERVICES, session.clinic_id)
        entry = await _read(session, sql.READ_CLINIC)
        if not (entry.active and entry.record["public_search"]):
            raise NotFound("No such clinic.")
        return PublicClinic(entry, locations.rows(), services.rows())

    async def _write(
        self, session: Session, caller: Caller, before: Entry, record: Record, reason: str = ""
    ) -> Edited:
        values = (record["name"], record["default_timezone"], record["status"])
        pending = session.queue(
            sql.UPDATE_CLINIC,
            session.clinic_id,
            *values,
            record["public_search"],
            record["requests_per_minute"],
        )
        with constraints_named():
            await session.run()
        entry = sql.clinic_of(pending.rows()[0])
        self._recorder.record(session, caller, before, entry, location_ids=(), reason=reason)
        return Edited(entry=entry)

    async def _existing(self, session: Session, record: Record, *, is_id_of_key: bool) -> Entry:
        entry = await _read(session, sql.READ_CLINIC)
        if any(entry.record[name] != record[name] for name in _SETTABLE):
            if is_id_of_key:
                raise Refused(
                    "This idempotency key was used for another request.", reason=Reason.IDEMPOTENCY_KEY_REUSED
                )
            raise Conflict("A clinic of this id exists.", reason=Reason.ALREADY_EXISTS)
        return entry


async def _read(session: Session, statement: Any) -> Entry:
    pending = session.queue(statement, session.clinic_id)
    await session.run()
    row = pending.row()
    if row is None:
        raise NotFound("No such clinic.")
    return sql.clinic_of(row)
