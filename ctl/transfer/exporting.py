"""A clinic as the file that an import reads; entry by entry, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO
from uuid import UUID

import yaml

from booking_svc.directory.entities import PLAIN, WINDOWS, Entity, Entry, Kind
from booking_svc.store.directory import DirectoryStore, ListQuery
from booking_svc.store.patients import PatientStore
from booking_svc.store.session import Session
from booking_svc.usecases.clinics import Clinics
from booking_svc.usecases.directory_recording import DirectoryRecorder
from ctl.transfer.importing import bare
from ctl.transfer.sections import APPOINTMENTS, CLINIC_SECTION, LISTS, PATIENTS
from ctl.transfer.sessions import new_id, operator
from ctl.transfer.visits import STATUS_WORDS, entry_of
from scheduling.clock import EPOCH, instant_of
from scheduling.localtime import YEAR_MAX

Document = Mapping[str, Any]

_PAGE: Final = 500
_NOBODY: Final = str(UUID(int=0))
_END: Final = datetime(YEAR_MAX + 1, 1, 1, tzinfo=UTC)
_NOT_SET: Final = frozenset({"status"})
_LINE_ENDS: Final = "\x85\u2028\u2029"
"""Beside the line feed, after which lines are indented, and the carriage return, which is always escaped."""


class Exporter:
    """Writes one clinic's file from a session; what is read is the session's moment."""

    def __init__(self, session: Session, recorder: DirectoryRecorder) -> None:
        self._session = session
        self._recorder = recorder
        self._clinics = Clinics(recorder, new_id)

    async def write(
        self, file: TextIO, *, with_patients: bool, with_visits: bool, progress: Callable[[int], None]
    ) -> int:
        """Write every section, or leave patients or visits out; how many entries. Raises NotFound."""
        caller = operator("export")
        clinic = await self._clinics.get(self._session, caller)
        self._recorder.audit_listing(self._session, caller, "export")
        file.write(f"{CLINIC_SECTION.word}:\n{_indented(_document(clinic), '  ')}")
        sections = {
            section.word: self._documents(section.entity)
            for section in LISTS
            if section is not PATIENTS or with_patients
        }
        if with_visits:
            sections[APPOINTMENTS] = self._visits()
        written = 1
        for word, documents in sections.items():
            is_first = True
            async for document in documents:
                file.write(f"{word}:\n" if is_first else "")
                is_first = False
                file.write(item_of(document))
                written += 1
                if written % _PAGE == 0:
                    progress(written)
        return written

    async def _documents(self, entity: Entity) -> AsyncIterator[Document]:
        async for entry in self._entries(entity):
            yield _document(entry)

    async def _visits(self) -> AsyncIterator[Document]:
        """Visits by their start, but for holds and what became of them."""
        after = (EPOCH, _NOBODY)
        while True:
            reply = self._session.appointments(
                EPOCH, _END, STATUS_WORDS, after=after, limit=_PAGE, offset=0, filters={}
            )
            await self._session.run()
            page = reply.get()
            for visit in page:
                yield entry_of(visit)
            if len(page) < _PAGE:
                return
            after = (instant_of(page[-1].start_min), page[-1].id)

    async def _entries(self, entity: Entity) -> AsyncIterator[Entry]:
        if entity.kind is Kind.PATIENT:
            async for entry in self._patients():
                yield entry
            return
        for one in WINDOWS.values() if entity.kind is Kind.WINDOW else (entity,):
            async for entry in self._plain(one):
                yield entry

    async def _plain(self, entity: Entity) -> AsyncIterator[Entry]:
        store = DirectoryStore(self._session)
        after: str | None = None
        after_id: str | None = None
        while True:
            query = ListQuery(filters={}, with_inactive=True, after=after, after_id=after_id, limit=_PAGE)
            page = await store.page(entity, query)
            for entry in page:
                yield entry
            if len(page) < _PAGE:
                return
            after, after_id = str(page[-1].record[entity.order]), page[-1].id

    async def _patients(self) -> AsyncIterator[Entry]:
        store = PatientStore(self._session)
        after_id: str | None = None
        while True:
            page = await store.search({}, with_inactive=True, after_id=after_id, limit=_PAGE)
            for entry in page:
                yield entry
            if len(page) < _PAGE:
                return
            after_id = page[-1].id


def item_of(document: Document) -> str:
    """An entry of a section, as the file has it."""
    return f"  - {_indented(document, '    ').lstrip()}"


def _document(entry: Entry) -> Document:
    record = {name: value for name, value in bare(entry.record).items() if name not in _NOT_SET}
    if entry.kind in PLAIN:
        record |= {name: entry.record[name] for name in PLAIN[entry.kind].unset_means}
    document = {"id": entry.id, **record}
    if not entry.active and entry.kind is not Kind.CLINIC:
        document["active"] = False
    return document


class _Dumper(yaml.CSafeDumper):
    """Writes what YAML takes for the end of a line as an escape: indented, it would be read as another text."""


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(one in text for one in _LINE_ENDS) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _indented(document: Document, indent: str) -> str:
    dumped = yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1_000)
    return "".join(f"{indent}{line}\n" if line else "\n" for line in dumped.removesuffix("\n").split("\n"))
