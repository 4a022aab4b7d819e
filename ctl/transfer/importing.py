"""The second reading: everything is written in one transaction, by the code that serves the same calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import uuid_utils

from booking_svc.directory.entities import Displaced, Entry, Kind, Record
from booking_svc.model import Caller
from booking_svc.store import statements
from booking_svc.store.constraints import constraints_named
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.patients import PatientStore
from booking_svc.store.pipeline import Connection
from booking_svc.store.session import Session
from booking_svc.usecases.claim_rewriting import ClaimRewriting
from booking_svc.usecases.clinics import Clinics
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.displacement import VisitsConcerned
from booking_svc.usecases.edit_directory import Edit, EditDirectory
from booking_svc.usecases.patients import Patients
from booking_svc.usecases.recording import Recorder
from chassis.auth.principal import Principal, Role
from chassis.encryption import ClinicCipher, KeyProvider
from ctl.failures import CtlError
from ctl.transfer.checking import Plan, Source
from ctl.transfer.meaning import Interpreter, Wanted
from ctl.transfer.sections import BY_WORD, PATIENTS
from database.clinic_keys import ClinicCiphers
from database.settings import DatabaseSettings
from scheduling.errors import DomainError, NotFound

_LOCK_WAIT_MS: Final = 60_000
_BATCH: Final = 200

Progress = Callable[[int], None]


@dataclass(slots=True)
class Report:
    """What an import did, or, on a dry run, would do."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    displaced: list[Displaced] = field(default_factory=list)


class ImportSession(Session):
    """All or nothing: no step of an import is undone by itself. `first_key` is there when the clinic has none yet."""

    def __init__(
        self,
        connection: Connection,
        clinic_id: str,
        cipher: ClinicCipher,
        *,
        first_key: tuple[str, bytes, str] | None,
    ) -> None:
        super().__init__(connection, clinic_id, cipher, timedelta(0))
        self.first_key = first_key

    def savepoint(self) -> None:
        """Do nothing."""


def operator(what: str) -> Caller:
    """Whoever runs a command on the database itself."""
    principal = Principal(subject=f"medforall {what}", role=Role.PLATFORM)
    return Caller(principal=principal, request_id=new_id())


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


@asynccontextmanager
async def clinic_session(
    owner_url: str, clinic_id: str, master_keys: KeyProvider
) -> AsyncIterator[ImportSession]:
    """An open transaction of a clinic on a connection of its own, rolled back unless the block commits."""
    settings = DatabaseSettings(pool_min=1, pool_max=1)
    connection = await Connection.open(owner_url, settings)
    try:
        ciphers = ClinicCiphers(master_keys)
        connection.queue(statements.BEGIN)
        connection.queue(statements.ENTER_CLINIC, clinic_id, f"{_LOCK_WAIT_MS}ms")
        found = connection.queue(statements.READ_DATA_KEYS, clinic_id)
        await connection.run()
        rows = found.rows()
        key = None if rows else ciphers.first_key(clinic_id)
        cipher = ciphers.keep(clinic_id, [(1, key[1])] if key else rows)
        yield ImportSession(connection, clinic_id, cipher, first_key=key)
    finally:
        await connection.close()


class Importer:
    """Writes a plan. Raises CtlError, with file and line, for what the database refuses."""

    def __init__(self, session: ImportSession, plan: Plan) -> None:
        recorder = DirectoryRecorder(new_id, lambda: datetime.now(UTC))
        self._session = session
        self._plan = plan
        self._recorder = recorder
        self._caller = operator("import")
        self._clinics = Clinics(recorder, new_id)
        self._editing = EditDirectory(VisitsConcerned(ClaimRewriting(Recorder(new_id))), recorder, new_id)
        self._patients = Patients(recorder, new_id)
        self.report = Report()

    async def write(self, source: Source, progress: Progress) -> None:
        """Queue and send every statement but the COMMIT."""
        await self._write_clinic()
        order = {word: place for place, word in enumerate(BY_WORD)}
        for wanted in sorted(self._plan.entries, key=lambda entry: order[entry.section.word]):
            with _told(wanted):
                await self._write_entry(wanted)
        await self._write_patients(source, progress)
        await self._session.run()

    async def _write_clinic(self) -> None:
        wanted = self._plan.clinic
        try:
            before = await self._clinics.get(self._session, self._caller)
        except NotFound:
            if wanted is None:
                raise CtlError(
                    f"There is no clinic {self._plan.clinic_id}.", hint="Add a section `clinic`."
                ) from None
            await self._clinics.create(self._session, self._caller, wanted.record)
            if self._session.first_key is not None:
                self._session.queue(statements.INSERT_DATA_KEY, *self._session.first_key)
            self.report.created += 1
            return
        if before.record["status"] == "archived":
            raise CtlError(f"Clinic {self._plan.clinic_id} is archived.", hint="Nothing was changed.")
        if wanted is None:
            return
        if _same({name: before.record[name] for name in wanted.record}, wanted.record):
            self.report.unchanged += 1
            return
        with _told(wanted):
            await self._clinics.update(self._session, self._caller, wanted.record, "")
        self.report.changed += 1

    async def _write_entry(self, wanted: Wanted) -> None:
        before = await self._find(wanted)
        if before is None:
            await self._edit(wanted, is_new=True)
            self.report.created += 1
        elif not _same(before.record, wanted.record):
            await self._edit(wanted)
            self.report.changed += 1
        elif before.active == wanted.active:
            self.report.unchanged += 1
        if wanted.active:
            _require_in_use(before)
        elif before is None or before.active:
            await self._edit(wanted, deactivates=True)
            self.report.changed += before is not None

    async def _find(self, wanted: Wanted) -> Entry | None:
        store = DirectoryStore(self._session)
        entity = wanted.section.entity
        if entity.kind is Kind.WINDOW:
            found = await store.window_entity(wanted.id)
            if found is None:
                return None
            entity = found
        return await store.find(entity, wanted.id)

    async def _edit(self, wanted: Wanted, *, is_new: bool = False, deactivates: bool = False) -> None:
        edit = self._edit_of(wanted, is_new=is_new, deactivates=deactivates)
        edited = await self._editing.work(self._session, edit)
        self.report.displaced += edited.displaced

    def _edit_of(self, wanted: Wanted, *, is_new: bool = False, deactivates: bool = False) -> Edit:
        return Edit(
            caller=self._caller,
            clinic_id=self._plan.clinic_id,
            kind=wanted.section.kind,
            changes={} if deactivates else wanted.record,
            entry_id=wanted.id,
            is_new=is_new,
            deactivates=deactivates,
        )

    async def _write_patients(self, source: Source, progress: Progress) -> None:
        if not self._plan.patients:
            return
        interpreter = Interpreter(self._plan.clinic_id)
        raws = (raw for raw in source.entries() if raw.section == PATIENTS.word)
        patients = (interpreter.wanted(PATIENTS, raw, None) for raw in raws)
        done = 0
        for batch in _batches(patients):
            await self._write_batch(batch)
            done += len(batch)
            progress(done)

    async def _write_batch(self, batch: list[Wanted]) -> None:
        store = PatientStore(self._session)
        there = await store.find_many([wanted.id for wanted in batch])
        new = [wanted for wanted in batch if wanted.id not in there]
        written = [(wanted, store.queue_insert(wanted.id, wanted.record)) for wanted in new]
        with _told(batch[0]):
            await self._session.run()
        for wanted, entry in written:
            self._recorder.record(self._session, self._caller, None, entry(), location_ids=())
            self.report.created += 1
            if not wanted.active:
                await self._patients.edit(self._session, self._edit_of(wanted, deactivates=True))
        for wanted in batch:
            if (before := there.get(wanted.id)) is not None:
                with _told(wanted):
                    await self._change_patient(wanted, before)

    async def _change_patient(self, wanted: Wanted, before: Entry) -> None:
        if wanted.active:
            _require_in_use(before)
        changes = not _same(before.record, wanted.record)
        if changes:
            await self._patients.edit(self._session, self._edit_of(wanted))
        if before.active and not wanted.active:
            await self._patients.edit(self._session, self._edit_of(wanted, deactivates=True))
            changes = True
        self.report.changed += changes
        self.report.unchanged += not changes


def _batches(patients: Iterable[Wanted | None]) -> Iterator[list[Wanted]]:
    found = (wanted for wanted in patients if wanted is not None)
    while batch := list(islice(found, _BATCH)):
        yield batch


def _require_in_use(before: Entry | None) -> None:
    if before is not None and not before.active:
        raise NotFound("is out of use in the clinic; an import does not bring it back: say `active: false`")


@contextmanager
def _told(wanted: Wanted) -> Iterator[None]:
    """Turn a refusal into a sentence with file and line."""
    try:
        with constraints_named():
            yield
    except DomainError as error:
        more = "; ".join(f"{fault.field} {fault.description}" for fault in error.violations)
        sentence = f"{error.message.rstrip('.')} ({more})" if more else error.message.rstrip(".")
        fault = wanted.raw.fault((), f"refused: {sentence}")
        raise CtlError(f"{fault}.", hint="Nothing was changed.") from error


def _same(stored: Record, wanted: Record) -> bool:
    return bool(bare(stored) == bare(wanted))


def bare(value: Any) -> Any:
    """A value without what says nothing: empty texts, lists and mappings, zeros and falsehoods."""
    if isinstance(value, dict):
        return {name: kept for name, item in value.items() if (kept := bare(item))}
    if isinstance(value, list | tuple):
        return [bare(item) for item in value]
    return value
