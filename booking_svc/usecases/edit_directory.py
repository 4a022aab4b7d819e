"""Create, change and deactivate what a clinic sets up: one path for all plain entities.

    BEGIN ── key row ── clinic and its locations locked exclusively ── savepoint ── entry locked, ETag compared
          ── references checked ── written ── visits that no longer fit ── event, audit ── answer ── COMMIT

The exclusive lock waits for bookings that were judged on the old directory, so the visits listed are all there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from booking_svc.directory.changing import changed
from booking_svc.directory.checks import checked
from booking_svc.directory.entities import PLAIN, Displaced, Edited, Entity, Entry, Kind, Record
from booking_svc.model import Caller
from booking_svc.store import directory_statements as sql
from booking_svc.store.constraints import constraints_named
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.session import Session
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.displacement import VisitsConcerned, require_no_visits_ahead
from booking_svc.usecases.read_directory import require_clinic, window_entity_of
from chassis.auth.principal import Role
from database.locks import directory_keys
from scheduling import consistency
from scheduling.errors import Conflict, FieldViolation, Forbidden, Invalid, NotFound, Reason, Refused, Stale
from scheduling.ids import NewId, canonical_id

OWN_BY_PROVIDERS: Final = {Kind.WINDOW: "resource_id", Kind.PREFERENCE: "provider_id"}
"""What a provider may write, when this field names itself."""

_FIXED: Final = {Kind.WINDOW: ("resource_id",), Kind.SERVICE_RULE: ("service_id", "provider_id", "rule_type")}
"""What an entry speaks of stays as it is: claims of visits are written under it."""

LOCATIONS_MAX: Final = 1_000
"""Locations of one clinic, inactive ones included."""

VIOLATIONS_MAX: Final = 50
"""How many displaced visits a refusal names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What to do with one entry. `changes` are the fields to set; a create has them all.

    `entry_id` may be empty on a create; `active` False deactivates. An empty `etag` is not compared.
    """

    caller: Caller
    clinic_id: str
    kind: Kind
    changes: Record
    entry_id: str = ""
    is_new: bool = False
    deactivates: bool = False
    etag: str = ""
    strict: bool = False


class EditDirectory:
    """The work of a directory change, to be run as a mutation."""

    def __init__(self, displacement: VisitsConcerned, recorder: DirectoryRecorder, new_id: NewId) -> None:
        self._displacement = displacement
        self._recorder = recorder
        self._new_id = new_id

    async def work(self, session: Session, edit: Edit) -> Edited:
        """Make the change. Raises the domain's refusals."""
        store = DirectoryStore(session)
        await lock_whole_directory(store, new_locations=int(edit.is_new and edit.kind is Kind.LOCATION))
        session.savepoint()
        await require_clinic(session)
        entity = await _entity_of(store, edit)
        before = None if edit.is_new else await _locked(store, entity, edit)
        record = wanted_record(entity, before, edit)
        for written in (record,) if before is None else (before.record, record):
            require_own(edit, written)
        await check_references(session, entity, record)
        if (
            before is not None
            and entity.kind is Kind.LOCATION
            and record["timezone"] != before.record["timezone"]
        ):
            await require_no_visits_ahead(session, before.id)
        remembered = await self._displacement.before(session, entity, before, record)
        entry = await self._write(store, entity, edit, before, record)
        displaced, versions = await self._displacement.after(session, edit.caller, entry, remembered)
        if displaced and edit.strict:
            raise would_displace(displaced)
        self._recorder.record(
            session, edit.caller, before, entry, location_ids=touched_locations(entity, entry, before)
        )
        token = consistency.encode(versions) if versions else ""
        return Edited(entry=entry, displaced=displaced, consistency_token=token)

    async def _write(
        self, store: DirectoryStore, entity: Entity, edit: Edit, before: Entry | None, record: Record
    ) -> Entry:
        with constraints_named():
            if before is None:
                return await store.insert(entity, edit.entry_id or self._new_id(), record)
            active = before.active and not edit.deactivates
            return await store.update(entity, before, record, active=active)


def wanted_record(entity: Entity, before: Entry | None, edit: Edit) -> Record:
    """What the entry shall say. What goes out of use stays as it is, also where it would be refused today."""
    if before is None:
        return checked(entity, edit.changes)
    return before.record if edit.deactivates else checked(entity, changed(before.record, edit.changes))


async def lock_whole_directory(store: DirectoryStore, *, new_locations: int = 0) -> None:
    """Let no booking that is judged on the old directory commit after this transaction.

    One change at a time: no location is made between the look at them and their locks. Each location is a lock, and
    the database holds so many at once, so a clinic has a bounded number of them. Raises Refused beyond it: no change
    is made while a location is not locked.
    """
    store.lock_directory(directory_keys(store.clinic_id, [store.clinic_id]))
    location_ids = await store.location_ids(LOCATIONS_MAX + 1)
    if len(location_ids) + new_locations > LOCATIONS_MAX:
        raise Refused(
            f"A clinic has at most {LOCATIONS_MAX} locations, those out of use included.",
            reason=Reason.LIMIT_REACHED,
        )
    store.lock_directory(directory_keys(store.clinic_id, location_ids))


async def _entity_of(store: DirectoryStore, edit: Edit) -> Entity:
    """The description to use; a window's table follows from its resource."""
    if edit.entry_id:
        canonical_id(edit.entry_id)
    if edit.kind is not Kind.WINDOW:
        return PLAIN[edit.kind]
    if not edit.is_new:
        entity = await store.window_entity(edit.entry_id)
        if entity is None:
            raise NotFound("No such window.")
        return entity
    if edit.entry_id and await store.window_entity(edit.entry_id) is not None:
        raise Conflict("A window of this id exists.", reason=Reason.ALREADY_EXISTS)
    entity = await window_entity_of(store, edit.changes["resource_id"])
    require_location_column(entity, edit.changes)
    return entity


def require_location_column(entity: Entity, record: Record) -> None:
    """Refuse a location for a window that has none: a room or an item is where it is."""
    if record.get("location_id") and "location_id" not in entity.columns:
        raise Invalid.field("location_id", "only a provider's window has a location")


async def _locked(store: DirectoryStore, entity: Entity, edit: Edit) -> Entry:
    entry = await store.find(entity, edit.entry_id, lock=True)
    if entry is None:
        raise NotFound(f"No such {entity.kind.replace('_', ' ')}.")
    require_etag(entry, edit.etag)
    require_in_use(entry, edit)
    for name in _FIXED.get(entity.kind, ()):
        if edit.changes.get(name, entry.record[name]) != entry.record[name]:
            thing = entity.kind.replace("_", " ")
            raise Invalid.field(name, f"cannot be changed: deactivate the {thing} and create another")
    return entry


def require_in_use(entry: Entry, edit: Edit) -> None:
    """Refuse to put out of use what is so already."""
    if edit.deactivates and not entry.active:
        raise Refused("It is out of use already.", reason=Reason.INVALID_TRANSITION)


def require_etag(entry: Entry, etag: str) -> None:
    """Refuse a change of something that has changed since it was read. An empty tag checks nothing."""
    wanted = etag.strip().removeprefix("W/")
    if wanted not in ("", "*", entry.etag):
        raise Stale(
            "It has changed since it was read.",
            reason=Reason.STALE_ETAG,
            metadata={"currentEtag": entry.etag},
        )


def require_own(edit: Edit, record: Record) -> None:
    """A provider writes its own windows and preferences, nobody else's."""
    principal = edit.caller.principal
    if principal.role is not Role.PROVIDER:
        return
    own = OWN_BY_PROVIDERS.get(edit.kind)
    if own is None or not principal.provider_id or record.get(own) != principal.provider_id:
        raise Forbidden("A provider may change its own working time and preferences only.")


async def check_references(session: Session, entity: Entity, record: Record) -> None:
    """Refuse ids of other clinics, or of nothing, before anything is written: NOT_FOUND either way."""
    wanted = [(name, kind, _ids(record.get(name))) for name, kind in entity.references.items()]
    if entity.kind is Kind.SERVICE_RULE and record.get("rule_type") == "allowed_provider":
        providers = _ids(record["rule_payload"]["provider_ids"])
        wanted.append(("rule_payload.provider_ids", Kind.PROVIDER, providers))
    asked = [
        (name, kind, ids, session.queue(sql.COUNT_BY_ID[kind], session.clinic_id, ids))
        for name, kind, ids in wanted
        if ids
    ]
    if not asked:
        return
    await session.run()
    for name, kind, ids, pending in asked:
        if pending.rows()[0][0] != len(ids):
            raise NotFound(f"No such {kind.replace('_', ' ')}.", metadata={"field": name})


def _ids(value: object) -> list[str]:
    if not value:
        return []
    return sorted({value} if isinstance(value, str) else set(value))  # type: ignore[call-overload]


def touched_locations(entity: Entity, entry: Entry, before: Entry | None) -> list[str]:
    """The locations whose availability the change may touch; none named means all of the clinic."""
    if entity.kind is Kind.LOCATION:
        return [entry.id]
    if entity.kind in (Kind.ROOM, Kind.CLOSURE, Kind.EQUIPMENT):
        places = {entry.record.get("location_id"), (before or entry).record.get("location_id")}
        return sorted(place for place in places if place) if all(places) else []
    return []


def would_displace(displaced: Sequence[Displaced]) -> Refused:
    """The refusal of a strict change."""
    return Refused(
        f"{len(displaced)} visits would fall outside.",
        reason=Reason.WOULD_DISPLACE,
        violations=[
            FieldViolation("appointments", f"{visit.appointment_id}: {visit.reason}")
            for visit in displaced[:VIOLATIONS_MAX]
        ],
    )
