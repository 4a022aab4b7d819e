"""The second reading: everything is written in one transaction, by the code that serves the same calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Any, Final, TypeVar

from booking_svc.directory.changing import changed
from booking_svc.directory.entities import Displaced, Edited, Entry, Kind, Record
from booking_svc.model import Caller
from booking_svc.store import statements
from booking_svc.store.constraints import constraints_named
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.patients import PatientStore
from booking_svc.usecases.book_many import BATCH_MAX, BookMany
from booking_svc.usecases.claim_rewriting import ClaimRewriting
from booking_svc.usecases.clinics import Clinics
from booking_svc.usecases.create_many import CreateMany, NewEntry, OneRefused
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.displacement import VisitsConcerned
from booking_svc.usecases.edit_directory import Edit, EditDirectory, lock_whole_directory
from booking_svc.usecases.patients import Patients, changes_overlap
from booking_svc.usecases.recording import Recorder
from ctl.failures import CtlError
from ctl.transfer.checking import FAULTS_MAX, Plan
from ctl.transfer.faults import Fault
from ctl.transfer.meaning import Interpreter, Wanted
from ctl.transfer.reading import Document
from ctl.transfer.sections import APPOINTMENTS, BY_WORD, PATIENTS
from ctl.transfer.sessions import ImportSession, new_id
from ctl.transfer.visits import VisitReader, WantedVisit
from scheduling.derived import DerivedCache
from scheduling.errors import DomainError, NotFound

_BATCH: Final = 200

EntryT = TypeVar("EntryT")
Progress = Callable[[str, int], None]
"""Called with the word of a section that may be long, and how many of its entries are done."""


@dataclass(slots=True)
class Report:
    """What an import did, or, on a dry run, would do. With `refused` visits it did nothing."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    displaced: list[Displaced] = field(default_factory=list)
    refused: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Difference:
    """Of an entry that is there: whether it shall say something else, be out of use, and may overlap or may not."""

    is_other: bool
    retires: bool
    overlaps: bool

    @property
    def is_any(self) -> bool:
        """Whether there is something to write."""
        return self.is_other or self.retires


class Importer:
    """Writes a plan. Raises CtlError, with file and line, for what the database refuses."""

    def __init__(self, session: ImportSession, plan: Plan, caller: Caller) -> None:
        recorder = DirectoryRecorder(new_id, lambda: datetime.now(UTC))
        self._session = session
        self._plan = plan
        self._caller = caller
        self._clinics = Clinics(recorder, new_id)
        booked = Recorder(new_id)
        rewriting = ClaimRewriting(booked)
        self._booking = BookMany(booked, DerivedCache())
        self._editing = EditDirectory(VisitsConcerned(rewriting), recorder, new_id)
        self._creating = CreateMany(self._editing, recorder)
        self._patients = Patients(rewriting, recorder, new_id)
        self._patients_left = 0
        self.report = Report()

    async def write(self, document: Document, progress: Progress) -> None:
        """Queue and send every statement but the COMMIT.

        Patients come first, who name nothing: they may be many, and the other entries, once written, keep the clinic's
        bookings waiting until the end. What bookings must see of a patient comes later, when these wait anyway: a
        booking locks the directory before its patient. Visits come last, judged by all that was written.
        """
        before = await self._clinic_there()
        await self._write_patients(document, progress)
        if before is not None:
            await self._change_clinic(before)
        order = {word: place for place, word in enumerate(BY_WORD)}
        entries = sorted(self._plan.entries, key=lambda entry: order[entry.section.word])
        for _, section in groupby(entries, key=lambda entry: entry.section.word):
            for batch in _batches(section):
                await self._write_batch(batch)
        if self._patients_left:
            await lock_whole_directory(DirectoryStore(self._session))
            for batch in self._patients_of(document):
                await self._change_patients_left(batch)
        if self._plan.visits:
            await self._book_visits(document, progress)
        await self._session.run()

    async def _clinic_there(self) -> Entry | None:
        """The clinic as it is; None for one that has just been made."""
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
            return None
        if before.record["status"] == "archived":
            raise CtlError(f"Clinic {self._plan.clinic_id} is archived.", hint="Nothing was changed.")
        return before

    async def _change_clinic(self, before: Entry) -> None:
        wanted = self._plan.clinic
        if wanted is None:
            return
        if _same(before.record, changed(before.record, wanted.changes)):
            self.report.unchanged += 1
            return
        with _told(wanted):
            await self._clinics.update(self._session, self._caller, wanted.changes, "")
        self.report.changed += 1

    async def _write_patients(self, document: Document, progress: Progress) -> None:
        if not self._plan.patients:
            return
        done = 0
        for batch in self._patients_of(document):
            await self._write_batch(batch)
            done += len(batch)
            progress(PATIENTS.word, done)

    async def _book_visits(self, document: Document, progress: Progress) -> None:
        """Book them all, and note every one that is refused: then nothing is to be committed."""
        read: deque[list[WantedVisit]] = deque()
        batches = ([wanted.given for wanted in batch] for batch in _noted(self._visits_of(document), read))
        done = 0
        async for outcome in self._booking.work(self._session, self._caller, batches):
            batch = read.popleft()
            done += len(batch)
            self.report.created += len(outcome.new.visits)
            self.report.unchanged += outcome.unchanged
            self.report.refused += [
                _visit_fault(batch[refused.place], refused.refusal) for refused in outcome.refused
            ]
            progress(APPOINTMENTS, done)
            if len(self.report.refused) >= FAULTS_MAX:
                return

    def _visits_of(self, document: Document) -> Iterator[list[WantedVisit]]:
        reader = VisitReader(self._plan.clinic_id, self._caller)
        raws = (raw for raw in document.entries() if raw.section == APPOINTMENTS)
        visits = (reader.wanted(raw, None) for raw in raws)
        return _batches((wanted for wanted in visits if wanted is not None), BATCH_MAX)

    def _patients_of(self, document: Document) -> Iterator[list[Wanted]]:
        """The patients of the files, read anew at each call."""
        interpreter = Interpreter(self._plan.clinic_id)
        raws = (raw for raw in document.entries() if raw.section == PATIENTS.word)
        patients = (interpreter.wanted(PATIENTS, raw, None) for raw in raws)
        return _batches(wanted for wanted in patients if wanted is not None)

    async def _change_patients_left(self, batch: list[Wanted]) -> None:
        there = await self._there(batch)
        for wanted in batch:
            with _told(wanted):
                await self._bring(wanted, _difference(wanted, there[wanted.id]))

    async def _write_batch(self, batch: list[Wanted]) -> None:
        """Entries of one section: those that are there are changed first, so that names they give up are free."""
        there = await self._there(batch)
        for wanted in batch:
            if (before := there.get(wanted.id)) is not None:
                with _told(wanted):
                    await self._change(wanted, before)
        new = [wanted for wanted in batch if wanted.id not in there]
        if new:
            await self._create(new)
        for wanted in new:
            if not wanted.active:
                with _told(wanted):
                    await self._edit(wanted, deactivates=True)

    async def _there(self, batch: list[Wanted]) -> Mapping[str, Entry]:
        kind, ids = batch[0].section.kind, [wanted.id for wanted in batch]
        if kind is Kind.PATIENT:
            return await PatientStore(self._session).find_many(ids)
        return await DirectoryStore(self._session).find_many(kind, ids)

    async def _create(self, new: list[Wanted]) -> None:
        kind, entries = new[0].section.kind, [NewEntry(wanted.id, wanted.record) for wanted in new]
        try:
            if kind is Kind.PATIENT:
                done = await self._patients.create_many(self._session, self._caller, entries)
            else:
                done = await self._creating.work(self._session, self._caller, kind, entries)
        except OneRefused as refused:
            raise _refusal(new[refused.place], refused.refusal) from refused
        self.report.created += len(done)
        self._note_displaced(done)

    async def _change(self, wanted: Wanted, before: Entry) -> None:
        difference = _difference(wanted, before)
        self.report.changed += difference.is_any
        self.report.unchanged += not difference.is_any
        if wanted.section.kind is Kind.PATIENT and (difference.retires or difference.overlaps):
            self._patients_left += 1
        else:
            await self._bring(wanted, difference)

    async def _bring(self, wanted: Wanted, difference: _Difference) -> None:
        if difference.is_other:
            await self._edit(wanted)
        if difference.retires:
            await self._edit(wanted, deactivates=True)

    async def _edit(self, wanted: Wanted, *, deactivates: bool = False) -> None:
        edit = Edit(
            caller=self._caller,
            clinic_id=self._plan.clinic_id,
            kind=wanted.section.kind,
            changes={} if deactivates else wanted.changes,
            entry_id=wanted.id,
            deactivates=deactivates,
        )
        work = self._patients.edit if edit.kind is Kind.PATIENT else self._editing.work
        self._note_displaced([await work(self._session, edit)])

    def _note_displaced(self, done: Sequence[Edited]) -> None:
        self.report.displaced += [visit for edited in done for visit in edited.displaced]


def _difference(wanted: Wanted, before: Entry) -> _Difference:
    """What an entry needs to be what is wanted. Raises NotFound for one that is out of use and shall not be."""
    if wanted.active and not before.active:
        raise NotFound("is out of use in the clinic; an import does not bring it back: say `active: false`")
    after = changed(before.record, wanted.changes)
    return _Difference(
        is_other=not _same(before.record, after),
        retires=before.active and not wanted.active,
        overlaps=changes_overlap(before.record, after),
    )


def _batches(entries: Iterable[EntryT], size: int = _BATCH) -> Iterator[list[EntryT]]:
    found = iter(entries)
    while batch := list(islice(found, size)):
        yield batch


def _noted(batches: Iterable[list[EntryT]], read: deque[list[EntryT]]) -> Iterator[list[EntryT]]:
    """The batches, each added to those that were read."""
    for batch in batches:
        read.append(batch)
        yield batch


def _visit_fault(wanted: WantedVisit, refusal: DomainError) -> Fault:
    """The contract's reason, and the sentence that a caller would be told, with the line of what is wrong."""
    if refusal.violations:
        first = refusal.violations[0]
        sentence = f"{first.description} ({refusal.reason.value})"
        return wanted.raw.fault((first.field,), sentence)
    return wanted.raw.fault((), f"refused: {refusal.message.rstrip('.')} ({refusal.reason.value})")


@contextmanager
def _told(wanted: Wanted) -> Iterator[None]:
    """Turn a refusal into a sentence with file and line."""
    try:
        with constraints_named():
            yield
    except DomainError as error:
        raise _refusal(wanted, error) from error


def _refusal(wanted: Wanted, error: DomainError) -> CtlError:
    more = "; ".join(f"{fault.field} {fault.description}" for fault in error.violations)
    sentence = f"{error.message.rstrip('.')} ({more})" if more else error.message.rstrip(".")
    fault = wanted.raw.fault((), f"refused: {sentence}")
    return CtlError(f"{fault}.", hint="Nothing was changed.")


def _same(stored: Record, wanted: Record) -> bool:
    return bool(bare(stored) == bare(wanted))


def bare(value: Any) -> Any:
    """A value without what says nothing: empty texts, lists and mappings, zeros and falsehoods."""
    if isinstance(value, dict):
        return {name: kept for name, item in value.items() if (kept := bare(item))}
    if isinstance(value, list | tuple):
        return [bare(item) for item in value]
    return value
