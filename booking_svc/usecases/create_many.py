"""Create many entries of one kind: what creating each by itself does, in the round trips of one.

Nothing is locked or asked for each entry that holds for all of them. Only a clinic with visits to come, which a new
entry may push outside, has them made one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from booking_svc.directory.checks import checked
from booking_svc.directory.entities import PLAIN, WINDOWS, Edited, Entity, Entry, Kind, Record
from booking_svc.directory.reach import Change
from booking_svc.model import Caller
from booking_svc.store.constraints import constraints_named
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.session import Reply, Session
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.directory_tokens import token_of_change
from booking_svc.usecases.displacement import has_visits_ahead
from booking_svc.usecases.edit_directory import (
    Edit,
    EditDirectory,
    check_references,
    lock_whole_directory,
    require_location_column,
    require_own,
)
from booking_svc.usecases.reaching import reaches_of
from booking_svc.usecases.read_directory import require_clinic
from scheduling.errors import Conflict, DomainError, NotFound, Reason
from scheduling.ids import canonical_id


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to make."""

    id: str
    record: Record


class OneRefused(Exception):
    """One entry of many was refused, and so all of them: its place among them, and why."""

    def __init__(self, place: int, refusal: DomainError) -> None:
        super().__init__(str(refusal))
        self.place = place
        self.refusal = refusal


class CreateMany:
    """The work of making many plain entries, to be run in a transaction that is open already."""

    def __init__(self, editing: EditDirectory, recorder: DirectoryRecorder) -> None:
        self._editing = editing
        self._recorder = recorder

    async def work(
        self, session: Session, caller: Caller, kind: Kind, wanted: Sequence[NewEntry]
    ) -> tuple[Edited, ...]:
        """Make all of them, in their order; on OneRefused the transaction must be rolled back."""
        edits = [_edit(session, caller, kind, new) for new in wanted]
        store = DirectoryStore(session)
        await lock_whole_directory(store, new_locations=len(edits) if kind is Kind.LOCATION else 0)
        session.savepoint()
        await require_clinic(session)
        if await has_visits_ahead(session):
            return await self._one_by_one(session, edits)
        entities = await _entities(store, kind, edits)
        checked_edits = []
        for place, (entity, edit) in enumerate(zip(entities, edits, strict=True)):
            with refusal_at(place):
                record = checked(entity, edit.changes)
                require_own(edit, record)
                checked_edits.append((entity, edit.entry_id, record))
        await _check_references(session, checked_edits)
        entries = await all_written(session, [store.queue_insert(*new) for new in checked_edits])
        changes = [Change(entity, entry) for entity, entry in zip(entities, entries, strict=True)]
        for entry, reach in zip(entries, await reaches_of(session, changes), strict=True):
            self._recorder.record(session, caller, None, entry, reach=reach)
        token = await token_of_change(session)
        return tuple(Edited(entry=entry, consistency_token=token) for entry in entries)

    async def _one_by_one(self, session: Session, edits: Sequence[Edit]) -> tuple[Edited, ...]:
        done = []
        for place, edit in enumerate(edits):
            with refusal_at(place):
                done.append(await self._editing.work(session, edit))
        return tuple(done)


@contextmanager
def refusal_at(place: int) -> Iterator[None]:
    """Say of a refusal which entry it is about."""
    try:
        yield
    except DomainError as refusal:
        raise OneRefused(place, refusal) from refusal


async def all_written(session: Session, written: Sequence[Reply[Entry]]) -> list[Entry]:
    """Run the session: the entries written. Raises OneRefused for the first that the database does not take."""
    try:
        with constraints_named():
            await session.run()
    except DomainError as refusal:
        place = next((at for at, reply in enumerate(written) if not reply.is_there), len(written) - 1)
        raise OneRefused(place, refusal) from refusal
    return [reply.get() for reply in written]


def _edit(session: Session, caller: Caller, kind: Kind, new: NewEntry) -> Edit:
    return Edit(
        caller=caller,
        clinic_id=session.clinic_id,
        kind=kind,
        changes=new.record,
        entry_id=canonical_id(new.id),
        is_new=True,
    )


async def _entities(store: DirectoryStore, kind: Kind, edits: Sequence[Edit]) -> list[Entity]:
    """How each entry is stored; a window's table follows from its resource."""
    if kind is not Kind.WINDOW:
        return [PLAIN[kind]] * len(edits)
    taken = await store.find_many(kind, [edit.entry_id for edit in edits])
    kinds = await store.resource_kinds(sorted({edit.changes["resource_id"] for edit in edits}))
    found = []
    for place, edit in enumerate(edits):
        with refusal_at(place):
            if edit.entry_id in taken:
                raise Conflict("A window of this id exists.", reason=Reason.ALREADY_EXISTS)
            entity = WINDOWS.get(kinds.get(edit.changes["resource_id"]))  # type: ignore[arg-type]
            if entity is None:
                raise NotFound("No such provider, room or equipment.")
            require_location_column(entity, edit.changes)
            found.append(entity)
    return found


async def _check_references(session: Session, edits: Sequence[tuple[Entity, str, Record]]) -> None:
    """Ask for what all of them name at once; only when something is missing, whose it is."""
    try:
        for entity in {id(entity): entity for entity, _, _ in edits}.values():
            records = [record for other, _, record in edits if other is entity]
            await check_references(session, entity, _merged(entity, records))
    except NotFound:
        for place, (entity, _, record) in enumerate(edits):
            with refusal_at(place):
                await check_references(session, entity, record)


def _merged(entity: Entity, records: Sequence[Record]) -> Record:
    """A record that refers to all that the records refer to."""
    merged: Record = {name: _ids([record.get(name) for record in records]) for name in entity.references}
    if entity.kind is Kind.SERVICE_RULE:
        allowed = [record for record in records if record["rule_type"] == "allowed_provider"]
        providers = _ids([record["rule_payload"]["provider_ids"] for record in allowed])
        merged |= {"rule_type": "allowed_provider", "rule_payload": {"provider_ids": providers}}
    return merged


def _ids(values: Sequence[Any]) -> list[str]:
    lists = ([value] if isinstance(value, str) else value for value in values if value)
    return sorted(set(chain.from_iterable(lists)))
