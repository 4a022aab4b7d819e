"""A clinic as the file that an import reads; entry by entry, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TextIO

import yaml

from booking_svc.directory.entities import PLAIN, WINDOWS, Entity, Entry, Kind
from booking_svc.store.directory import DirectoryStore, ListQuery
from booking_svc.store.patients import PatientStore
from booking_svc.store.session import Session
from booking_svc.usecases.clinics import Clinics
from booking_svc.usecases.directory_recording import DirectoryRecorder
from ctl.transfer.importing import bare
from ctl.transfer.sections import CLINIC_SECTION, LISTS, PATIENTS
from ctl.transfer.sessions import new_id, operator

_PAGE: Final = 500
_NOT_SET: Final = frozenset({"status"})


class Exporter:
    """Writes one clinic's file from a session; what is read is the session's moment."""

    def __init__(self, session: Session, recorder: DirectoryRecorder) -> None:
        self._session = session
        self._recorder = recorder
        self._clinics = Clinics(recorder, new_id)

    async def write(self, file: TextIO, *, with_patients: bool, progress: Callable[[int], None]) -> int:
        """Write every section; how many entries. Raises NotFound."""
        caller = operator("export")
        clinic = await self._clinics.get(self._session, caller)
        self._recorder.audit_listing(self._session, caller, "export")
        file.write(f"{CLINIC_SECTION.word}:\n{_text(clinic, indent='  ')}")
        written = 1
        for section in LISTS:
            if section is PATIENTS and not with_patients:
                continue
            is_first = True
            async for entry in self._entries(section.entity):
                file.write(f"{section.word}:\n" if is_first else "")
                is_first = False
                file.write(_item(entry))
                written += 1
                if written % _PAGE == 0:
                    progress(written)
        return written

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


def _item(entry: Entry) -> str:
    text = _text(entry, indent="    ")
    return f"  - {text.lstrip()}"


def _text(entry: Entry, *, indent: str) -> str:
    record = {name: value for name, value in bare(entry.record).items() if name not in _NOT_SET}
    if entry.kind in PLAIN:
        record |= {name: entry.record[name] for name in PLAIN[entry.kind].unset_means}
    document: dict[str, Any] = {"id": entry.id, **record}
    if not entry.active and entry.kind is not Kind.CLINIC:
        document["active"] = False
    dumped = yaml.dump(document, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False, width=1_000)
    return "".join(f"{indent}{line}\n" if line else "\n" for line in dumped.splitlines())
