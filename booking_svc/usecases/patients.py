"""Patients: written, read and searched by those who may, each reading audited."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from booking_svc.directory.checks import checked
from booking_svc.directory.entities import Displaced, Edited, Entity, Entry, Kind, Record
from booking_svc.model import Caller
from booking_svc.store.constraints import constraints_named
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.displacement_statements import PATIENTS_VISITS_AHEAD
from booking_svc.store.patients import PatientStore
from booking_svc.store.session import Session
from booking_svc.usecases.claim_rewriting import ClaimRewriting
from booking_svc.usecases.create_many import NewEntry, all_written, refusal_at
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.edit_directory import (
    Edit,
    lock_whole_directory,
    require_in_use,
    wanted_record,
    would_displace,
)
from booking_svc.usecases.etags import require_version
from booking_svc.usecases.existing import changed_meanwhile
from booking_svc.usecases.page_tokens import Listing
from booking_svc.usecases.patient_claims import after_patient_change
from booking_svc.usecases.read_directory import PAGE_DEFAULT, Page, require_clinic
from chassis.auth.principal import Principal, Role
from chassis.search_terms import normal_email, normal_phone, searched_prefixes
from scheduling import consistency
from scheduling.errors import Forbidden, Invalid, NotFound, Reason
from scheduling.ids import NewId, canonical_id

PATIENT: Final = Entity(kind=Kind.PATIENT, table="patient", columns={})
TERMS: Final = ("name_prefix", "phone", "email", "dob")
PHI_SCOPE: Final = "read:phi"
ALL_PATIENTS: Final = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPatients:
    """What to look for; at least one term must be given."""

    caller: Caller
    clinic_id: str
    terms: Mapping[str, str]
    with_inactive: bool = False
    page_size: int = 0
    page_token: str = ""


class Patients:
    """The work of every call about patients; each runs in a transaction that is open already."""

    def __init__(self, rewriting: ClaimRewriting, recorder: DirectoryRecorder, new_id: NewId) -> None:
        self._rewriting = rewriting
        self._recorder = recorder
        self._new_id = new_id

    async def edit(self, session: Session, edit: Edit) -> Edited:
        """Create, change or deactivate a patient."""
        store = PatientStore(session)
        session.savepoint()
        await require_clinic(session)
        before = None if edit.is_new else await _locked(session, store, edit)
        record = wanted_record(PATIENT, before, edit)
        if not edit.deactivates:
            self._require_born(record)
        with constraints_named():
            entry = await self._write(store, edit, before, record)
        displaced, versions = await self._displaced(session, edit, before, entry)
        if displaced and edit.strict:
            raise would_displace(displaced)
        self._recorder.record(session, edit.caller, before, entry)
        token = consistency.encode(versions) if versions else ""
        return Edited(entry=entry, displaced=displaced, consistency_token=token)

    async def _displaced(
        self, session: Session, edit: Edit, before: Entry | None, entry: Entry
    ) -> tuple[tuple[Displaced, ...], dict[str, int]]:
        if edit.deactivates:
            return await _visits_ahead(session, entry), {}
        if before is None or not changes_overlap(before.record, entry.record):
            return (), {}
        return await after_patient_change(self._rewriting, session, edit.caller, entry)

    async def create_many(
        self, session: Session, caller: Caller, wanted: Sequence[NewEntry]
    ) -> tuple[Edited, ...]:
        """Create patients that all have ids. Raises OneRefused."""
        store = PatientStore(session)
        session.savepoint()
        await require_clinic(session)
        written = []
        for place, new in enumerate(wanted):
            with refusal_at(place):
                record = checked(PATIENT, new.record)
                self._require_born(record)
                written.append(store.queue_insert(canonical_id(new.id), record))
        entries = await all_written(session, written)
        for entry in entries:
            self._recorder.record(session, caller, None, entry)
        return tuple(Edited(entry=entry) for entry in entries)

    def _require_born(self, record: Record) -> None:
        """Refuse a date of birth that is still to come, wherever on earth somebody is born today."""
        tomorrow = self._recorder.now().date() + timedelta(days=1)
        if record.get("dob") and date.fromisoformat(record["dob"]) > tomorrow:
            raise Invalid.field("dob", "must not lie in the future")

    async def _write(self, store: PatientStore, edit: Edit, before: Entry | None, record: Record) -> Entry:
        if before is None:
            patient_id = canonical_id(edit.entry_id) if edit.entry_id else self._new_id()
            return await store.insert(patient_id, record)
        return await store.update(before, record, active=before.active and not edit.deactivates)

    async def read(self, session: Session, caller: Caller, patient_id: str) -> Entry:
        """The patient; the reading is audited in the same transaction. Raises NotFound."""
        found = await self._readable(session, caller, [patient_id])
        if patient_id not in found:
            raise NotFound("No such patient.")
        self._recorder.audit(session, caller, "patient.read", found[patient_id])
        return found[patient_id]

    async def read_many(
        self, session: Session, caller: Caller, patient_ids: Sequence[str]
    ) -> tuple[Entry, ...]:
        """The patients in the order asked, each reading audited; raises NotFound, with the place, when one is not."""
        found = await self._readable(session, caller, patient_ids)
        for place, patient_id in enumerate(patient_ids):
            if patient_id not in found:
                raise NotFound(f"ids[{place}]: No such patient.", metadata={"place": str(place)})
        entries = tuple(found[patient_id] for patient_id in patient_ids)
        for entry in entries:
            self._recorder.audit(session, caller, "patient.read", entry)
        return entries

    async def _readable(
        self, session: Session, caller: Caller, patient_ids: Sequence[str]
    ) -> dict[str, Entry]:
        """Those of the patients that are there and for the caller to read, by id."""
        await require_clinic(session)
        found = await PatientStore(session).find_many(patient_ids)
        may_read = await _those_to_read(session, caller.principal, list(found))
        return {patient_id: entry for patient_id, entry in found.items() if patient_id in may_read}

    async def search(self, session: Session, search: SearchPatients) -> Page:
        """One page of patients that match every term, each one's showing audited."""
        principal = search.caller.principal
        if principal.role is Role.PROVIDER:
            raise Forbidden("A provider reads its own patients by their ids.")
        _require_terms(search.terms)
        await require_clinic(session)
        if not principal.has_scope(PHI_SCOPE) and ALL_PATIENTS not in await _granted(session, principal, ()):
            raise Forbidden(
                "Patients are searched with the scope read:phi, or in an emergency of the clinic."
            )
        size = search.page_size or PAGE_DEFAULT
        listing = Listing(PATIENT.table, [sorted(search.terms.items()), search.with_inactive])
        (after_id,) = listing.position(session.cipher, search.page_token) or (None,)
        found = await PatientStore(session).search(
            search.terms,
            with_inactive=search.with_inactive,
            after_id=after_id,
            limit=size + 1,
        )
        for entry in found[:size]:
            self._recorder.audit(session, search.caller, "patient.search", entry)
        is_more = len(found) > size
        next_token = listing.next_token(session.cipher, [found[size - 1].id]) if is_more else ""
        return Page(entries=tuple(found[:size]), next_token=next_token)


def changes_overlap(before: Record, after: Record) -> bool:
    """Whether a patient becomes a placeholder, or somebody in particular."""
    return bool(before.get("placeholder")) != bool(after.get("placeholder"))


def _would_change_overlap(entry: Entry, edit: Edit) -> bool:
    return "placeholder" in edit.changes and changes_overlap(entry.record, edit.changes)


async def _visits_ahead(session: Session, patient: Entry) -> tuple[Displaced, ...]:
    """Visits that a patient who goes out of use still has."""
    pending = session.queue(PATIENTS_VISITS_AHEAD, session.clinic_id, patient.id)
    await session.run()
    return tuple(
        Displaced(visit_id, start_min, end_min, Reason.RESOURCE_INACTIVE)
        for visit_id, start_min, end_min in pending.rows()
    )


async def _locked(session: Session, store: PatientStore, edit: Edit) -> Entry:
    """The patient as it is before the edit.

    A booking that was judged on what the patient was is waited for, and its visit seen, where it may not overlap any
    more. The directory is locked before the patient, as by bookings, so whether it must be is seen before: raises Stale
    where that was seen wrong.
    """
    known = await store.find(edit.entry_id) if "placeholder" in edit.changes else None
    overlaps = known is not None and _would_change_overlap(known, edit)
    if overlaps:
        await lock_whole_directory(DirectoryStore(session))
    entry = await store.lock(edit.entry_id, excludes_bookings=edit.deactivates or overlaps)
    if entry is None:
        raise NotFound("No such patient.")
    if not overlaps and _would_change_overlap(entry, edit):
        raise changed_meanwhile("patient")
    require_version(edit.etag, entry.version, "The patient")
    require_in_use(entry, edit)
    return entry


async def _those_to_read(
    session: Session, principal: Principal, patient_ids: Sequence[str]
) -> Collection[str | None]:
    """A patient reads itself, a provider those it has visits with; without the scope an admin reads in an emergency."""
    if not principal.has_scope(PHI_SCOPE):
        granted = await _granted(session, principal, patient_ids)
        return patient_ids if ALL_PATIENTS in granted else granted
    if principal.role is Role.PATIENT:
        return (principal.patient_id,)
    if principal.role is Role.PROVIDER:
        provider_id = principal.provider_id
        return await PatientStore(session).seen_by(provider_id, patient_ids) if provider_id else ()
    return patient_ids


async def _granted(
    session: Session, principal: Principal, patient_ids: Sequence[str]
) -> Collection[str | None]:
    """Whom an admin's emergency access opens, while it lasts: of the patients, or all of them."""
    if principal.role is not Role.ADMIN:
        return ()
    return await PatientStore(session).granted_to(principal.subject, patient_ids)


def _require_terms(terms: Mapping[str, str]) -> None:
    if not any(terms.get(name) for name in TERMS):
        raise Invalid.field("name_prefix", "give a name prefix, phone, email or date of birth")
    prefix = terms.get("name_prefix", "")
    if prefix and not any(len(word) > 1 for word in searched_prefixes(prefix)):
        raise Invalid.field("name_prefix", "must have a word of at least two letters")
    # What has no normal form would ask nothing, and show everybody.
    if terms.get("phone") and not normal_phone(terms["phone"]):
        raise Invalid.field("phone", "must have a digit")
    if terms.get("email") and not normal_email(terms["email"]):
        raise Invalid.field("email", "must be an address")
