"""Read what a clinic has set up: one entry, or pages of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from booking_svc.directory.entities import PLAIN, WINDOWS, Entity, Entry, Kind
from booking_svc.store import directory_statements as sql
from booking_svc.store.directory import DirectoryStore, ListQuery
from booking_svc.store.session import Session
from booking_svc.usecases.page_tokens import Listing
from booking_svc.usecases.transactions import Transactions
from scheduling.errors import Invalid, NotFound

PAGE_DEFAULT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries in order; `next_token` is empty on the last page."""

    entries: tuple[Entry, ...]
    next_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEntries:
    """Which entries of a kind; `page_size` 0 means 50."""

    kind: Kind
    filters: Mapping[str, str]
    with_inactive: bool = False
    page_size: int = 0
    page_token: str = ""


class ReadDirectory:
    """Reads plain entities, each in a snapshot of its clinic."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def get(self, clinic_id: str, kind: Kind, entry_id: str) -> Entry:
        """The entry. Raises NotFound when the clinic has no such one."""
        entry = await self._transactions.read(clinic_id, lambda session: _find(session, kind, entry_id))
        if entry is None:
            raise NotFound(f"No such {kind.replace('_', ' ')}.")
        return entry

    async def page(self, clinic_id: str, query: ListEntries) -> Page:
        """One page of entries, in the entity's order, then by id."""
        return await self._transactions.read(clinic_id, lambda session: _page(session, query))


async def _find(session: Session, kind: Kind, entry_id: str) -> Entry | None:
    store = DirectoryStore(session)
    await require_clinic(session)
    entity = await store.window_entity(entry_id) if kind is Kind.WINDOW else PLAIN[kind]
    return None if entity is None else await store.find(entity, entry_id)


async def _page(session: Session, query: ListEntries) -> Page:
    await require_clinic(session)
    entity = await _entity(session, query)
    await _require_known(session, entity, query.filters)
    size = query.page_size or PAGE_DEFAULT
    listing = Listing(entity.table, [sorted(query.filters.items()), query.with_inactive])
    after, after_id = listing.position(session.cipher, query.page_token) or (None, None)
    wanted = ListQuery(
        filters=query.filters,
        with_inactive=query.with_inactive,
        after=after,
        after_id=after_id,
        limit=size + 1,
    )
    found = await DirectoryStore(session).page(entity, wanted)
    shown = found[:size]
    next_token = ""
    if len(found) > size:
        next_token = listing.next_token(session.cipher, (str(shown[-1].record[entity.order]), shown[-1].id))
    return Page(entries=tuple(shown), next_token=next_token)


async def require_clinic(session: Session) -> str:
    """The clinic's status. Raises NotFound when it does not exist or is archived."""
    pending = session.queue(sql.READ_CLINIC_STATUS, session.clinic_id)
    await session.run()
    row = pending.row()
    if row is None or row[0] == "archived":
        raise NotFound("No such clinic.")
    return str(row[0])


async def _require_known(session: Session, entity: Entity, filters: Mapping[str, str]) -> None:
    """Raise NotFound for a filter by something that the clinic does not have: no list is empty by mistake."""
    asked = [
        (kind, session.queue(sql.COUNT_BY_ID[kind], session.clinic_id, [filters[name]]))
        for name, kind in entity.references.items()
        if filters.get(name)
    ]
    if asked:
        await session.run()
    for kind, pending in asked:
        if pending.rows() != [(1,)]:
            raise NotFound(f"No such {kind.replace('_', ' ')}.")


async def _entity(session: Session, query: ListEntries) -> Entity:
    """A list of windows is a list of one resource's windows: which table follows from the resource."""
    if query.kind is not Kind.WINDOW:
        return PLAIN[query.kind]
    resource_id = query.filters.get("resource_id")
    if not resource_id:
        raise Invalid.field("resource_id", "is required to list windows")
    return await window_entity_of(DirectoryStore(session), resource_id)


async def window_entity_of(store: DirectoryStore, resource_id: str) -> Entity:
    """The description of a resource's windows. Raises Invalid for no resource, NotFound for what has no windows."""
    if not resource_id:
        raise Invalid.field("resource_id", "is required")
    kind = await store.resource_kind(resource_id)
    if kind is None or kind not in WINDOWS:
        raise NotFound("No such provider, room or equipment.")
    return WINDOWS[kind]
