"""The first reading of the files: everything is checked, nothing is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

from booking_svc.directory.entities import PLAIN, Entity, Kind
from ctl.failures import CtlError
from ctl.transfer.faults import Fault, UnreadableError
from ctl.transfer.meaning import Interpreter, Wanted
from ctl.transfer.names import Names, shared_names
from ctl.transfer.reading import Document, RawEntry, read_csv, read_yaml
from ctl.transfer.sections import (
    APPOINTMENTS,
    BY_WORD,
    CLINIC_SECTION,
    RESOURCE_KINDS,
    TABLES,
    WORDS,
    id_of,
    is_uuid,
)
from ctl.transfer.sessions import operator
from ctl.transfer.visits import VisitReader

ENTRIES_MAX: Final = 50_000
"""Entries other than patients and visits: they are kept in memory."""

FAULTS_MAX: Final = 10_000

Ids = Mapping[Kind, set[str]]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Files that can be read more than once."""

    files: tuple[Path, ...]
    table: str = ""

    def entries(self) -> Iterator[RawEntry]:
        """Every entry of every file. Raises UnreadableError."""
        for path in self.files:
            if path.suffix.lower() == ".csv":
                yield from read_csv(path, self._section_of(path))
            else:
                yield from read_yaml(path)

    def _section_of(self, path: Path) -> str:
        word = self.table or path.stem
        if word not in TABLES:
            raise CtlError(
                f"It is not clear what {path.name} holds.",
                hint=f"Name the file after it, or say --as with one of: {', '.join(sorted(TABLES))}.",
            )
        return word


@dataclass(slots=True)
class Plan:
    """What the files ask for: the clinic, its entries but for patients and visits, and how many of these."""

    clinic_id: str
    clinic: Wanted | None = None
    entries: list[Wanted] = field(default_factory=list)
    patients: int = 0
    visits: int = 0
    faults: list[Fault] = field(default_factory=list)


def clinic_of(source: Document, given: str) -> str:
    """The id of the clinic that the files speak of. Raises CtlError when they do not say."""
    first = next(source.entries(), None)
    named = ""
    if first is not None and first.section == CLINIC_SECTION.word and isinstance(first.tree, dict):
        named = id_of(str(first.tree.get("id") or ""), "clinic") if first.tree.get("id") else ""
    if given and not is_uuid(given):
        raise CtlError(f"--clinic {given!r} is not a UUID.")
    if given and named and str(UUID(given)) != named:
        raise CtlError("The file speaks of another clinic than --clinic names.")
    if not (given or named):
        raise CtlError(
            "The files do not say which clinic they belong to.",
            hint="Begin the YAML file with a section `clinic` that has an id, or say --clinic ID.",
        )
    return str(UUID(given)) if given else named


def check(
    document: Document, clinic_id: str, known: Ids, *, progress: Progress, names: Names | None = None
) -> Plan:
    """Read everything and collect the faults; `known` and `names` are of the entries that the clinic has already."""
    plan = Plan(clinic_id)
    interpreter = Interpreter(clinic_id)
    visits = VisitReader(clinic_id, operator("import"))
    # The directory's ids must differ, as what can be booked and patients share a table; a visit may have one of theirs.
    seen: set[bytes] = set()
    visits_seen: set[bytes] = set()
    for count, raw in enumerate(document.entries()):
        if raw.section == APPOINTMENTS:
            _take_visit(plan, visits, raw, visits_seen)
        else:
            _take(plan, interpreter, raw, seen)
        if len(plan.faults) >= FAULTS_MAX:
            break
        if count % 500 == 0:
            progress(count)
    _check_references(plan, known)
    plan.faults += shared_names(plan.entries, names or {})
    plan.faults.sort(key=lambda fault: (str(fault.file), fault.line))
    return plan


def known_ids(owner: Connection[Any], clinic_id: str) -> Ids:
    """What the clinic has of everything but patients."""
    found = {}
    for kind, entity in PLAIN.items():
        query = f"SELECT id::text FROM {entity.table} WHERE clinic_id = %s"  # noqa: S608 - a constant
        found[kind] = {row[0] for row in owner.execute(query.encode(), (clinic_id,))}
    return found


def _take(plan: Plan, interpreter: Interpreter, raw: RawEntry, seen: set[bytes]) -> None:
    section = BY_WORD.get(raw.section)
    if section is None:
        plan.faults.append(raw.fault((), f"is no section; there are: {', '.join(WORDS)}"))
        return
    wanted = interpreter.wanted(section, raw, plan.faults)
    if wanted is None:
        return
    if section is CLINIC_SECTION:
        if plan.clinic is not None:
            plan.faults.append(raw.fault((), "is given twice"))
        plan.clinic = wanted
        return
    _note_id(plan, wanted.id, raw, seen)
    if section.kind is Kind.PATIENT:
        plan.patients += 1
        return
    plan.entries.append(wanted)
    if len(plan.entries) > ENTRIES_MAX:
        raise UnreadableError(
            raw.file, raw.line, f"has more than {ENTRIES_MAX:,} entries besides patients and appointments"
        )


def _take_visit(plan: Plan, visits: VisitReader, raw: RawEntry, seen: set[bytes]) -> None:
    wanted = visits.wanted(raw, plan.faults)
    if wanted is not None:
        _note_id(plan, wanted.given.id, raw, seen)
        plan.visits += 1


def _note_id(plan: Plan, entry_id: str, raw: RawEntry, seen: set[bytes]) -> None:
    key = UUID(entry_id).bytes
    if key in seen:
        plan.faults.append(raw.fault(("id",), "is given twice"))
    seen.add(key)


def _check_references(plan: Plan, known: Ids) -> None:
    there: dict[Kind, set[str]] = defaultdict(set, {kind: set(ids) for kind, ids in known.items()})
    for wanted in plan.entries:
        there[wanted.section.kind].add(wanted.id)
    for wanted in plan.entries:
        for name, kinds, ids in _references(wanted):
            if any(all(found not in there[kind] for kind in kinds) for found in ids):
                words = " or ".join(kind.replace("_", " ") for kind in kinds)
                plan.faults.append(wanted.raw.fault((name,), f"names no {words} of the files or the clinic"))
        if _is_place_of_no_provider(wanted, there):
            plan.faults.append(wanted.raw.fault(("location_id",), "only a provider's window has a location"))


def _references(wanted: Wanted) -> Iterator[tuple[str, tuple[Kind, ...], list[str]]]:
    entity: Entity = wanted.section.entity
    for name, kind in entity.references.items():
        kinds = RESOURCE_KINDS if (entity.kind, name) == (Kind.WINDOW, "resource_id") else (kind,)
        value = wanted.record.get(name)
        yield name, kinds, [value] if isinstance(value, str) and value else list(value or ())
    if entity.kind is Kind.SERVICE_RULE:
        payload = wanted.record.get("rule_payload") or {}
        yield "rule_payload", (Kind.PROVIDER,), list(payload.get("provider_ids") or ())


def _is_place_of_no_provider(wanted: Wanted, there: Ids) -> bool:
    record = wanted.record
    return (
        wanted.section.kind is Kind.WINDOW
        and bool(record.get("location_id"))
        and record["resource_id"] not in there[Kind.PROVIDER]
    )
