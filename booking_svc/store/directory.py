"""The directory's plain entities in a clinic's transaction: entries in, entries out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from booking_svc.directory.checks import opening_minutes
from booking_svc.directory.entities import PLAIN, WINDOWS, Entity, Entry, Kind, Record
from booking_svc.store import directory_statements as sql
from booking_svc.store.session import Reply, Session
from database.pipeline import Pending, Value
from scheduling.facts import ResourceKind

_DAY_MIN = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Which entries: filters by the contract's field names, and the position after which the page begins."""

    filters: Mapping[str, str]
    with_inactive: bool = False
    after: str | None = None
    after_id: str | None = None
    limit: int = 50


class DirectoryStore:
    """Plain entities, through one session. Hours live in a table of their own and are part of their location."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.clinic_id = session.clinic_id

    async def insert(self, entity: Entity, entry_id: str, record: Record) -> Entry:
        """Write a new entry, with its resource row if it is one."""
        written = self.queue_insert(entity, entry_id, record)
        await self._session.run()
        return written.get()

    def queue_insert(self, entity: Entity, entry_id: str, record: Record) -> Reply[Entry]:
        """Queue the same."""
        if entity.resource is not None:
            self._session.queue(sql.INSERT_RESOURCE, self.clinic_id, entry_id, entity.resource.value)
        values = _values(entity, record)
        pending = self._session.queue(sql.STATEMENTS[entity.table].insert, self.clinic_id, entry_id, *values)
        if entity.kind is Kind.LOCATION:
            self._replace_hours(entry_id, record)
        return Reply(pending, lambda done: self._written(entity, record, done))

    async def update(self, entity: Entity, entry: Entry, record: Record, *, active: bool) -> Entry:
        """Write a changed entry and raise its version."""
        values = _values(entity, record)
        statement = sql.STATEMENTS[entity.table].update
        pending = self._session.queue(statement, self.clinic_id, entry.id, active, *values)
        if entity.kind is Kind.LOCATION and record.get("hours") != entry.record.get("hours"):
            self._session.queue(sql.DELETE_HOURS, self.clinic_id, entry.id)
            self._replace_hours(entry.id, record)
        await self._session.run()
        return self._written(entity, record, pending)

    async def find(self, entity: Entity, entry_id: str, *, lock: bool = False) -> Entry | None:
        """The entry, locked if asked; None when the clinic has no such one."""
        statements = sql.STATEMENTS[entity.table]
        statement = statements.lock if lock else statements.read
        pending = self._session.queue(statement, self.clinic_id, entry_id)
        await self._session.run()
        row = pending.row()
        return None if row is None else (await self._completed(entity, [row]))[0]

    async def find_many(self, kind: Kind, entry_ids: Sequence[str]) -> dict[str, Entry]:
        """Those of the entries that the clinic has, by id."""
        entities = tuple(WINDOWS.values()) if kind is Kind.WINDOW else (PLAIN[kind],)
        asked = [
            (
                entity,
                self._session.queue(sql.STATEMENTS[entity.table].read_many, self.clinic_id, list(entry_ids)),
            )
            for entity in entities
        ]
        await self._session.run()
        found = [entry for entity, reply in asked for entry in await self._completed(entity, reply.rows())]
        return {entry.id: entry for entry in found}

    async def page(self, entity: Entity, query: ListQuery) -> list[Entry]:
        """One page of entries."""
        pending = self._session.queue(
            sql.STATEMENTS[entity.table].list,
            self.clinic_id,
            query.with_inactive,
            *[query.filters.get(name) or None for name in entity.filters],
            query.after,
            query.after_id,
            query.limit,
        )
        await self._session.run()
        return await self._completed(entity, pending.rows())

    async def resource_kind(self, resource_id: str) -> ResourceKind | None:
        """What kind of resource an id names; None when the clinic has none of that id."""
        pending = self._session.queue(sql.READ_RESOURCE_KIND, self.clinic_id, resource_id)
        await self._session.run()
        row = pending.row()
        return None if row is None else ResourceKind(row[0])

    async def resource_kinds(self, resource_ids: Sequence[str]) -> dict[str, ResourceKind]:
        """What kind of resource each id names; ids that name none of the clinic are missing."""
        pending = self._session.queue(sql.READ_RESOURCE_KINDS, self.clinic_id, list(resource_ids))
        await self._session.run()
        return {resource_id: ResourceKind(kind) for resource_id, kind in pending.rows()}

    async def window_entity(self, window_id: str) -> Entity | None:
        """Which table a window lies in; None when the clinic has no such window."""
        pending = self._session.queue(sql.FIND_WINDOW_KIND, self.clinic_id, window_id)
        await self._session.run()
        row = pending.row()
        return None if row is None else WINDOWS[ResourceKind(row[0])]

    async def location_ids(self, limit: int) -> list[str]:
        """The clinic's locations, inactive ones included, at most `limit`."""
        pending = self._session.queue(sql.READ_LOCATION_IDS, self.clinic_id, limit)
        await self._session.run()
        return [row[0] for row in pending.rows()]

    def lock_directory(self, keys: Sequence[int]) -> None:
        """Let no booking that is judged on the old directory commit after this transaction."""
        self._session.queue(sql.LOCK_DIRECTORY, list(keys))

    async def _completed(self, entity: Entity, rows: Sequence[Sequence[Any]]) -> list[Entry]:
        entries = [_entry(entity, self.clinic_id, row) for row in rows]
        if entity.kind is Kind.LOCATION and entries:
            await self._add_hours(entries)
        return entries

    async def _add_hours(self, entries: Sequence[Entry]) -> None:
        pending = self._session.queue(sql.READ_HOURS, self.clinic_id, [entry.id for entry in entries])
        await self._session.run()
        hours: dict[str, list[Record]] = {entry.id: [] for entry in entries}
        for location_id, weekday, opens, closes in pending.rows():
            hours[location_id].append({"weekday": weekday, "start": _clock(opens), "end": _closing(closes)})
        for entry in entries:
            entry.record["hours"] = hours[entry.id]

    def _replace_hours(self, location_id: str, record: Record) -> None:
        hours = record.get("hours") or []
        if not hours:
            return
        opening = [opening_minutes(day) for day in hours]
        self._session.queue(
            sql.INSERT_HOURS,
            self.clinic_id,
            location_id,
            [day["weekday"] for day in hours],
            [opens for opens, _ in opening],
            [closes for _, closes in opening],
        )

    def _written(self, entity: Entity, record: Record, pending: Pending) -> Entry:
        row = pending.rows()[0]
        return _assembled(entity, self.clinic_id, record, row)


def _values(entity: Entity, record: Record) -> list[Value]:
    return [_value(entity, name, record.get(name)) for name in entity.columns]


def _value(entity: Entity, name: str, value: Any) -> Value:
    if name in entity.json:
        empty: Any = [] if name == "preferred_time_windows" else {}
        return orjson.dumps(value or empty).decode()
    if name in entity.arrays:
        return list(value or ())
    if name in entity.optional and not value:
        return None
    return value  # type: ignore[no-any-return]


def _entry(entity: Entity, clinic_id: str, row: Sequence[Any]) -> Entry:
    size = len(entity.columns)
    record = {name: _shown(value) for name, value in zip(entity.columns, row[:size], strict=True)}
    return _assembled(entity, clinic_id, record, row[size:])


def _assembled(entity: Entity, clinic_id: str, record: Record, system: Sequence[Any]) -> Entry:
    entry_id, active, version, created_at, updated_at = system
    return Entry(
        kind=entity.kind,
        clinic_id=clinic_id,
        id=entry_id,
        record=record,
        active=active,
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )


def _shown(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    return value


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


def _closing(minute: int) -> str:
    return "24:00" if minute == _DAY_MIN else _clock(minute)
