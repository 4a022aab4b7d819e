"""Names that the database lets nobody share, over the files and the clinic together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from psycopg import Connection

from booking_svc.directory.entities import PLAIN, Kind
from ctl.transfer.faults import Fault
from ctl.transfer.meaning import Wanted

_UNIQUE: Final = {Kind.LOCATION: ("name",), Kind.ROOM: ("location_id", "name")}

Key = tuple[str, ...]
Names = Mapping[Kind, Mapping[str, Key]]
"""What entries are told apart by beside their ids, by id."""


def known_names(owner: Connection[Any], clinic_id: str) -> Names:
    """The names that entries of the clinic have."""
    found: dict[Kind, dict[str, Key]] = {}
    for kind, fields in _UNIQUE.items():
        columns = ", ".join(f"{field}::text" for field in fields)
        query = f"SELECT id::text, {columns} FROM {PLAIN[kind].table} WHERE clinic_id = %s"  # noqa: S608 - constants
        found[kind] = {row[0]: row[1:] for row in owner.execute(query.encode(), (clinic_id,))}
    return found


def shared_names(entries: Iterable[Wanted], known: Names) -> Iterator[Fault]:
    """A fault for each entry of the files that would have another's name."""
    for kind, fields in _UNIQUE.items():
        wanted = {entry.id: entry for entry in entries if entry.section.kind is kind}
        before = known.get(kind, {})
        taken = {key for entry_id, key in before.items() if entry_id not in wanted}
        for entry_id, entry in wanted.items():
            stored = dict(zip(fields, before.get(entry_id, ()), strict=False))
            named = {field: entry.record[field] for field in fields if field in entry.changes or not stored}
            key = tuple((stored | named)[field] for field in fields)
            if key in taken:
                where = " at this location" if kind is Kind.ROOM else ""
                yield entry.raw.fault(("name",), f"is the name of another {kind.value}{where}")
            taken.add(key)
